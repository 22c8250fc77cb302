// Files of everybody who writes Parquet, in every codec and encoding, read in ranges through the cache, with their bytes damaged here
// and in the bucket in every way that PROTOCOL 9 names: the answer is the right one, or an error that names the file. Never a
// wrong value, of files without compression neither, which no decoder can tell from sound ones (G-9).
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checksumOf } from '../../lake/checksum.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import { createMemoryObjectStore } from '../../lake/object-store/memory.ts'
import type { ByteRange, ObjectStore } from '../../lake/object-store/object-store.ts'
import { footerOf } from '../../lake/parquet/concat.ts'
import { mergeRanges, planRanges, subtractRanges } from '../../lake/parquet/ranges.ts'
import { createRangeCache, type RangeCache } from '../../lake/range-cache/range-cache.ts'
import { parseIndex } from '../../lake/range-cache/side-index.ts'
import { damagedFileError } from '../../query/run/damaged-file.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { COLUMNS, foreignFiles, ROWS, writeOwnFiles } from './sample-rows.ts'

const SEED = Number(process.env.DAMAGE_SEED ?? Math.trunc(performance.now() * 1000) % 1_000_000)
const NAMES = Object.keys(COLUMNS)
const ROOT = 's3://bucket/lake'

const world = createTestWorld()
let folder: string
let engine: Engine
let folders: readonly string[]
/** Of each column, as `read` gives it. */
let expected: Readonly<Record<string, string>>
let places = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-damaged-bytes-'))
  const foreign = await foreignFiles()
  engine = createEngine({
    world,
    settings: {
      name: 'damage',
      mode: 'compaction',
      memoryBytes: 512 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1e9,
      folders: [folder],
    },
  })
  const own = join(folder, 'own')
  await writeOwnFiles(engine, own)
  folders = [foreign, own]
  const columns = Object.entries(COLUMNS).map(([name, sql]) => `${sql} AS ${name}`)
  expected = await sums(`(SELECT ${columns.join(', ')} FROM range(${ROWS}) r(i))`, NAMES)
}, 600_000)
afterAll(async () => {
  await engine?.close()
  rmSync(folder, { recursive: true, force: true })
})

async function sums(fromSql: string, names: readonly string[]): Promise<Record<string, string>> {
  const types: Readonly<Record<string, string>> = { t: 'TIMESTAMP', i: 'BIGINT', z: 'BIGINT', n: 'INT' }
  const values = names.map((name) => {
    const value = types[name] ? `CAST(${name} AS ${types[name]})` : name
    return `concat(count(${name}), ' ', CAST(sum(hash(${value})) AS VARCHAR)) AS ${name}`
  })
  const [row] = await engine.run(`SELECT ${values.join(', ')} FROM ${fromSql}`)
  return row as Record<string, string>
}

/** An object in a bucket, and caches over it. */
type Place = {
  readonly name: string
  readonly path: string
  readonly bytes: Uint8Array
  readonly etag: string
  readonly store: ObjectStore
  /** Answers of the store end early, so many times. */
  short: number
  cache: RangeCache
  folder: string
  readonly random: () => number
  readonly close: () => Promise<void>
}

async function makePlace(file: string, name: string, seed: number): Promise<Place> {
  const bytes = new Uint8Array(readFileSync(file))
  const memory = createMemoryObjectStore({ root: ROOT, world })
  const path = `${ROOT}/${name.replaceAll(' ', '-')}`
  const { etag } = await memory.put(path, bytes)
  const opened: RangeCache[] = []
  const place: Place = {
    name,
    path,
    bytes,
    etag,
    short: 0,
    store: {
      ...memory,
      async get(asked, options) {
        const got = await memory.get(asked, options)
        return place.short-- > 0 ? { ...got, bytes: got.bytes.subarray(0, got.bytes.length >> 1) } : got
      },
    },
    cache: undefined as never,
    folder: '',
    random: randomOf(seed),
    async close() {
      await Promise.all(opened.map((cache) => cache.close()))
      for (const each of readdirSync(folder)) {
        if (each.startsWith('cache-')) rmSync(join(folder, each), { recursive: true })
      }
    },
  }
  await openCache(place)
  opened.push(place.cache)
  return place
}

/** Over this folder, as a new process would. */
async function openCache(place: Place, from?: string): Promise<void> {
  places += 1
  place.folder = join(folder, `cache-${places}`)
  if (from) cpSync(from, place.folder, { recursive: true })
  place.cache = await createRangeCache({
    folder: place.folder,
    bytesMax: 1e9,
    store: place.store,
    world,
    wholeFileBytesMax: 0,
  })
}

/** As a query does: these columns and no more; what the engine cannot read is compared, and fetched whole, once. */
async function read({ cache, path, bytes, etag }: Place, names: readonly string[]): Promise<Record<string, string>> {
  const footer = await cache.footer(path, bytes.length, etag)
  const groups = footer.rowGroups.map((_, index) => index)
  let { ranges } = planRanges(footer, new Set(names), groups, { bloom: new Set() })
  for (let attempt = 1; ; attempt += 1) {
    const file = await cache.ensure(path, bytes.length, etag, ranges)
    try {
      return await sums(`read_parquet(${quoteText(file.localFile)}, hive_partitioning=false)`, names)
    } catch (error) {
      file.distrust()
      if (attempt > 1) throw await damagedFileError(engine, [{ path, ...file }], error, new AbortController().signal)
      ranges = [{ start: 0, end: bytes.length }]
    } finally {
      file.release()
    }
  }
}

/** What is wrong with this outcome; nothing when it is right, or an error that names the file where that may be. */
async function fault(place: Place, names: readonly string[], may: 'answer' | 'fail'): Promise<string | undefined> {
  let found: Record<string, string>
  try {
    found = await read(place, names)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    if (may === 'fail' && error.code === 'file-damaged' && error.message.includes(place.path)) return undefined
    return `${error.code} ${error.message}`
  }
  const wrong = names.filter((name) => found[name] !== expected[name])
  return wrong.length === 0 ? undefined : `wrong values of ${wrong.join(', ')}`
}

const chunksOf = (place: Place, name: string): readonly ByteRange[] => {
  const footer = footerOf(place.bytes)
  const index = footer.columns.findIndex(({ path }) => path === name)
  return footer.rowGroups.map(({ chunks }) => chunks[index])
}

/** Until the index names what was read: it follows the disk, and no reader waits for that. */
async function readToDisk(place: Place, names: readonly string[]): Promise<void> {
  await read(place, names)
  const wanted = names.flatMap((name) => chunksOf(place, name))
  const isNamed = () => {
    const index = existsSync(indexFile(place)) ? parseIndex(readFileSync(indexFile(place), 'utf8')) : undefined
    return index !== undefined && subtractRanges(wanted, mergeRanges(index.ranges)).length === 0
  }
  while (!isNamed()) await sleep(2)
}

const dataFile = (place: Place) => join(place.folder, readdirSync(place.folder).find((each) => each.endsWith('.data'))!)
const indexFile = (place: Place) => dataFile(place).replace(/data$/, 'index')

function alter(file: string, at: number, bytes: Uint8Array): void {
  const handle = openSync(file, 'r+')
  writeSync(handle, bytes, 0, bytes.length, at)
  closeSync(handle)
}

function zero(place: Place, name: string, part: 'second half' | 'all'): void {
  for (const { start, end } of chunksOf(place, name)) {
    const from = part === 'all' ? start : start + ((end - start) >> 1)
    alter(dataFile(place), from, new Uint8Array(end - from))
  }
}

type Damage = (place: Place, name: string, other: string) => Promise<string | undefined>

const DAMAGES: Readonly<Record<string, Damage>> = {
  async 'half of a chunk zeroed by a kill, its index whole'(place, name) {
    await readToDisk(place, [name])
    zero(place, name, 'second half')
    await openCache(place, place.folder)
    return fault(place, [name], 'answer')
  },
  async 'a chunk that the index names and the disk never got'(place, name) {
    await readToDisk(place, [name])
    zero(place, name, 'all')
    await openCache(place, place.folder)
    return fault(place, [name], 'answer')
  },
  async 'half of a chunk, and no line of the index'(place, name) {
    await readToDisk(place, [name])
    zero(place, name, 'second half')
    const head = readFileSync(indexFile(place), 'utf8').indexOf('\n') + 1
    truncateSync(indexFile(place), head)
    await openCache(place, place.folder)
    return fault(place, [name], 'answer')
  },
  async 'a line of the index torn in the middle'(place, name, other) {
    await readToDisk(place, [other])
    await readToDisk(place, [name])
    zero(place, name, 'second half')
    truncateSync(indexFile(place), readFileSync(indexFile(place)).length - Math.ceil(place.random() * 30))
    await openCache(place, place.folder)
    return fault(place, [name, other], 'answer')
  },
  async 'bits flipped on the disk while the cache runs'(place, name) {
    await readToDisk(place, [name])
    const [{ start, end }] = chunksOf(place, name)
    for (let flips = 0; flips < 3; flips += 1) {
      const at = start + Math.floor(place.random() * (end - start))
      alter(dataFile(place), at, new Uint8Array([place.bytes[at] ^ (1 << Math.floor(place.random() * 8))]))
    }
    return fault(place, [name], 'answer')
  },
  async 'the first half of a chunk fetched for somebody else'(place, name) {
    const halves = chunksOf(place, name).map(({ start, end }) => ({ start, end: start + ((end - start) >> 1) }))
    ;(await place.cache.ensure(place.path, place.bytes.length, place.etag, halves)).release()
    return fault(place, [name], 'answer')
  },
  async 'an object cut short'(place, name, other) {
    await readToDisk(place, [other])
    // The same etag: nothing but the length tells.
    const cut = place.bytes.subarray(0, Math.floor(place.bytes.length * (0.2 + place.random() * 0.7)))
    const get: ObjectStore['get'] = async (path, options) => {
      const got = await place.store.get(path, options)
      const { start = 0, end = cut.length } = options?.range ?? {}
      return { ...got, bytes: cut.subarray(start, Math.min(end, cut.length)), objectSize: cut.length }
    }
    await place.cache.close()
    place.cache = await createRangeCache({ ...cacheOptions(place), store: { ...place.store, get } })
    return fault(place, [name], 'fail')
  },
  async 'another object of the same length under the key'(place, name, other) {
    await readToDisk(place, [other])
    const changed = place.bytes.slice()
    for (const { start, end } of chunksOf(place, name)) changed.fill(7, start + ((end - start) >> 1), end)
    await place.store.put(place.path, changed)
    return (await fault(place, [name], 'fail')) ?? (await fault(place, [other], 'fail'))
  },
  async 'bodies that end early, for a while'(place, name) {
    place.short = 2
    return fault(place, [name], 'answer')
  },
  async 'bodies that end early, always'(place, name) {
    place.short = 1e9
    const found = await fault(place, [name], 'fail')
    place.short = 0
    return found ?? (await fault(place, [name], 'answer'))
  },
  async 'a bucket restored from a copy'(place, name, other) {
    await readToDisk(place, [other])
    await place.store.put(place.path, place.bytes)
    const checksum = checksumOf(place.bytes)
    const whole = [{ start: 0, end: place.bytes.length }]
    const { path, bytes, etag } = place
    ;(await place.cache.ensure(path, bytes.length, etag, whole, undefined, checksum)).release()
    return fault(place, [name, other], 'answer')
  },
}

const cacheOptions = (place: Place) => ({ folder: place.folder, bytesMax: 1e9, world, wholeFileBytesMax: 0 })

test.each(['pyarrow', 'polars', 'parquet-java', 'duckdb', 'millrace'])(
  'files of %s: right answers, or errors that name the file',
  { timeout: 300_000 },
  async (writer) => {
    const files = folders.flatMap((each) =>
      readdirSync(each)
        .filter((name) => name.startsWith(`${writer} `))
        .map((name) => ({ name, file: join(each, name) })),
    )
    expect(files.length).toBeGreaterThan(1)
    const faults: string[] = []
    for (const [index, { name, file }] of files.entries()) {
      const place = await makePlace(file, name, SEED + index)
      const half = NAMES.filter((_, each) => (each + index) % 2 === 0)
      for (const columns of [half, NAMES]) {
        const found = await fault(place, columns, 'answer')
        if (found) faults.push(`${name}, undamaged: ${found}`)
      }
      await place.close()
      for (const [number, [what, damage]] of Object.entries(DAMAGES).entries()) {
        const damaged = await makePlace(file, name, SEED + index)
        const column = NAMES[(SEED + index + number) % NAMES.length]
        const other = NAMES[(SEED + index + number + 5) % NAMES.length]
        const found = await damage(damaged, column, other)
        if (found) faults.push(`${name}, ${what}, ${column}: ${found}`)
        await damaged.close()
      }
    }
    expect({ faults, replay: `DAMAGE_SEED=${SEED}` }).toEqual({ faults: [], replay: `DAMAGE_SEED=${SEED}` })
  },
)

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
