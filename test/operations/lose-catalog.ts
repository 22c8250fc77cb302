/** The worst day of an operator: the catalog's file is gone, and is made again from the bucket. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Millrace } from '../harness/millrace.ts'
import { runMillrace } from './run-command.ts'

export function catalogFileOf({ folder }: Pick<Millrace, 'folder'>): string {
  return join(folder, 'data', 'catalog.sqlite')
}

/** All services are stopped. Answers what the rebuild said. */
export async function loseCatalog(millrace: Millrace): Promise<string> {
  await rm(catalogFileOf(millrace))
  for (const ending of ['-wal', '-shm']) await rm(catalogFileOf(millrace) + ending, { force: true })
  const rebuilt = await runMillrace(millrace, 'catalog', 'rebuild')
  expect(rebuilt).toMatchObject({ code: 0 })
  return rebuilt.out
}
