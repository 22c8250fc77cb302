/** The catalog on PostgreSQL: the conformance suite against a real server, each catalog with connections of its own. */
import { afterAll, beforeAll, test } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import { holdClock, moveHeldClock, type PostgresServer, startPostgres } from '../../test/harness/postgres.ts'
import { checkInterleavings } from './catalog-model.ts'
import { describeCatalog } from './conformance.ts'
import { describeConnectors } from './conformance-connectors.ts'
import { type OpenedCatalog, openCatalog } from './open-catalog.ts'

let server: PostgresServer
beforeAll(async () => {
  // Nothing is killed here: what is asked is what transactions see of each other.
  server = await startPostgres({ fsync: 'off' })
})
afterAll(() => server?.stop())

async function onServer() {
  const url = await server.createDatabase()
  await holdClock(url, createTestWorld().clock.nowMicros())
  const opened: OpenedCatalog[] = []
  return {
    async open(world: TestWorld) {
      const catalog = await openCatalog({ url, world })
      opened.push(catalog)
      return catalog
    },
    moveClock: (ms: number) => moveHeldClock(url, ms),
    async close() {
      for (const catalog of opened) await catalog.close()
    },
  }
}

describeCatalog('PostgreSQL', onServer)
describeConnectors('PostgreSQL', onServer)

test('any interleaving keeps coverage whole, versions dense and every segment live in one span (G-1, G-2, G-3)', () =>
  checkInterleavings(async (world) => openCatalog({ url: await server.createDatabase(), world }), { numRuns: 12 }))
