/** A lake with a table for everybody and one for nobody, and beside it a folder with secrets in many formats. */
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSampleLake, type SampleLake } from '../../query/sample-lake.ts'
import type { World } from '../../runtime/world.ts'
import type { Attempt } from './attempts.ts'

/** In the files beside the lake, and in the table that the caller may not read. */
export const OUTSIDE_SECRET = 'tell-nobody-4711'
export const TABLE_SECRET = 'tell-nobody-4712'

export type SecretPlaces = {
  readonly lake: SampleLake
  readonly places: Readonly<Record<string, string>>
  filledIn(attempt: Attempt): Record<string, unknown>
  /** Every file there is, but for the engines' own folders: views over nothing and what spills. */
  files(): Promise<string[]>
}

export async function createSecretPlaces(world: World): Promise<SecretPlaces> {
  const lake = await createSampleLake(world)
  const open = await lake.createTable('open_table', { a: 'int', b: 'string' })
  await lake.addRows(open, "SELECT i, 'x' || i FROM range(10) r(i)")
  const hidden = await lake.createTable('private_table', { a: 'int', b: 'string' })
  const privateFile = await lake.addRows(hidden, `SELECT i, '${TABLE_SECRET}' FROM range(10) r(i)`)
  const outside = join(lake.folder, 'outside')
  await mkdir(outside)
  await writeFile(join(outside, 'secret.txt'), OUTSIDE_SECRET)
  await writeFile(join(outside, 'secret.csv'), `a,b\n1,${OUTSIDE_SECRET}\n`)
  await writeFile(join(outside, 'secret.json'), `{"a": "${OUTSIDE_SECRET}"}\n`)
  await lake.engine.run(`COPY (SELECT '${OUTSIDE_SECRET}' AS a) TO '${outside}/secret.parquet'`)
  const link = join(lake.folder, 'lake', 'link')
  await symlink(outside, link)
  const places: Record<string, string> = { outside, lake: join(lake.folder, 'lake'), private: privateFile, link }
  return {
    lake,
    places,
    filledIn(attempt) {
      const text = JSON.stringify(typeof attempt === 'string' ? { sql: attempt } : attempt)
      return JSON.parse(text.replace(/\{(outside|lake|private|link)\}/g, (_, place: string) => places[place]))
    },
    async files() {
      const names = await readdir(lake.folder, { recursive: true })
      return names.filter((name) => !/^cache\/(objects-)?work|spill|^catalog\.db/.test(name)).sort()
    },
  }
}
