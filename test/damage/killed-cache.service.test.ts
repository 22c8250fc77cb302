// A reader's cache whose process is killed with SIGKILL while it fills: what is left is read again as far as it is whole, and every
// byte that anybody gets is the object's (PROTOCOL 9).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { createMemoryObjectStore } from '../../lake/object-store/memory.ts'
import { sampleBatch } from '../../lake/parquet/sample-batches.ts'
import { writeParquet } from '../../lake/parquet/write.ts'
import { createRangeCache } from '../../lake/range-cache/range-cache.ts'
import { createTestWorld } from '../../runtime/test-world.ts'

const KILLS = 8
const SEED = Number(process.env.DAMAGE_SEED ?? Math.trunc(performance.now() * 1000) % 1_000_000)
const PATH = 's3://bucket/lake/killed.parquet'
const folder = mkdtempSync(join(tmpdir(), 'millrace-killed-cache-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function object(): Uint8Array {
  const values = Array.from({ length: 200_000 }, (_, row) => BigInt(Math.imul(row + 1, 2654435761) >>> 0) * 7919n)
  const batch = sampleBatch([{ name: 'n', type: { kind: 'long' }, values }])
  return writeParquet(batch, { compression: 'none', level: 1, rowGroupRows: 20_000, keyValues: {} }).bytes
}

async function fillUntilKilled(cacheFolder: string, file: string, seed: number): Promise<void> {
  const program = join(import.meta.dirname, 'fill-cache.ts')
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, cacheFolder, file, String(seed)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const gone = once(child, 'exit')
  await once(child.stdout, 'data')
  await sleep(seed % 40)
  child.kill('SIGKILL')
  expect(await gone).toEqual([null, 'SIGKILL'])
}

test('a killed reader leaves no wrong byte behind, over and over', { timeout: 120_000 }, async () => {
  const bytes = object()
  const file = join(folder, 'object')
  writeFileSync(file, bytes)
  const killed = join(folder, 'killed')
  const world = createTestWorld()
  let reused = 0
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Three times in a row over what the kills before left, then from nothing.
    if (kill % 3 === 0) rmSync(killed, { recursive: true, force: true })
    await fillUntilKilled(killed, file, SEED + kill * 7)
    const copy = join(folder, `copy-${kill}`)
    cpSync(killed, copy, { recursive: true })
    const store = createMemoryObjectStore({ root: 's3://bucket/lake', world })
    const { etag } = await store.put(PATH, bytes)
    const cache = await createRangeCache({ folder: copy, bytesMax: 1e9, store, world, wholeFileBytesMax: 0 })
    const held = await cache.ensure(PATH, bytes.length, etag, [{ start: 0, end: bytes.length }])
    const isRight = Buffer.compare(readFileSync(held.localFile), bytes) === 0
    expect([isRight, `DAMAGE_SEED=${SEED}`]).toEqual([true, `DAMAGE_SEED=${SEED}`])
    reused += bytes.length - cache.stats().fetchedBytes
    held.release()
    await cache.close()
  }
  expect(reused).toBeGreaterThan(0)
})
