/** Random interleavings against a model, on SQLite in memory. */
import { test } from 'vitest'
import { checkInterleavings } from './catalog-model.ts'
import { openCatalog } from './open-catalog.ts'

test('any interleaving keeps coverage whole, versions dense and every segment live in one span (G-1, G-2, G-3)', () =>
  checkInterleavings((world) => openCatalog({ url: 'sqlite::memory:', world }), { numRuns: 60 }))
