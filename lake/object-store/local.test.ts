import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { describeObjectStore } from './conformance.ts'
import { createLocalObjectStore } from './local.ts'
import { localFileOf } from './object-path.ts'

let folder: string
let worlds = 0
const open = (name: string) =>
  createLocalObjectStore({
    root: `file://${join(folder, name)}`,
    world: createTestWorld({ seed: ++worlds, sleepAdvances: true }),
  })
const bytes = (value: string) => new TextEncoder().encode(value)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-local-store-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describeObjectStore('local disk', async () => ({ open: () => open('lake with space') }), {
  manyKeys: 1_203,
  largeFileBytes: 5_000_000,
})

describe('local disk', () => {
  test('the file has the name that the path says, for readers that open files themselves', async () => {
    const store = open('names')
    const path = `${store.root}/city=S%C3%A3o/part 1.parquet`
    await store.put(path, bytes('x'))
    expect(await readdir(join(folder, 'names', 'city=S%C3%A3o'))).toEqual(['part 1.parquet'])
    expect(localFileOf(path)).toBe(join(folder, 'names', 'city=S%C3%A3o', 'part 1.parquet'))
    await store.close()
  })

  test('links below the root are refused and not listed', async () => {
    const outside = join(folder, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'secret'), 'secret')
    const store = open('links')
    await store.put(`${store.root}/data/x`, bytes('x'))
    await symlink(outside, join(folder, 'links', 'out'))
    await symlink(join(outside, 'secret'), join(folder, 'links', 'data', 'secret'))
    for (const key of ['out/secret', 'data/secret']) {
      const path = `${store.root}/${key}`
      await expect(store.get(path)).rejects.toThrow(/symbolic link/)
      await expect(store.head(path)).rejects.toThrow(/symbolic link/)
      await expect(store.delete([path])).rejects.toThrow(/symbolic link/)
    }
    await expect(store.put(`${store.root}/out/new`, bytes('x'))).rejects.toThrow(/symbolic link/)
    await expect(store.put(`${store.root}/out/deep/new`, bytes('x'))).rejects.toThrow(/symbolic link/)
    expect(await readdir(outside)).toEqual(['secret'])
    for (const prefix of [store.root, `${store.root}/out/`]) {
      const paths = (await Array.fromAsync(store.list(prefix))).map((info) => info.path)
      expect(paths).toEqual(prefix === store.root ? [`${store.root}/data/x`] : [])
    }
    await store.close()
  })

  test('a key through an object, or onto a folder, is refused', async () => {
    const store = open('through')
    await store.put(`${store.root}/a/b`, bytes('x'))
    await expect(store.put(`${store.root}/a/b/c`, bytes('x'))).rejects.toMatchObject({ code: 'request-invalid' })
    await expect(store.put(`${store.root}/a`, bytes('x'))).rejects.toMatchObject({ code: 'request-invalid' })
    await store.close()
  })

  test('its own folder is neither listed nor a key, and reading makes nothing', async () => {
    const reader = open('own')
    expect(await reader.head(`${reader.root}/x`)).toBeUndefined()
    expect(await Array.fromAsync(reader.list(`${reader.root}/`))).toEqual([])
    expect(await readdir(folder)).not.toContain('own')
    await reader.put(`${reader.root}/x`, bytes('x'))
    expect((await readdir(join(folder, 'own'))).sort()).toEqual(['.millrace', 'x'])
    expect(await readdir(join(folder, 'own', '.millrace', 'staging'))).toEqual([])
    expect((await Array.fromAsync(reader.list(reader.root))).map((info) => info.path)).toEqual([`${reader.root}/x`])
    await expect(reader.get(`${reader.root}/.millrace/lock.sqlite`)).rejects.toMatchObject({ code: 'request-invalid' })
    await reader.close()
  })

  test('what a dead writer left in staging goes after an hour, what is younger stays', async () => {
    const staging = join(folder, 'stale', '.millrace', 'staging')
    await mkdir(staging, { recursive: true })
    await writeFile(join(staging, 'old'), 'x')
    await writeFile(join(staging, 'young'), 'x')
    const world = createTestWorld({ seed: 99 })
    const nowSeconds = Number(world.clock.nowMicros() / 1_000_000n)
    await utimes(join(staging, 'old'), nowSeconds, nowSeconds - 3_700)
    await utimes(join(staging, 'young'), nowSeconds, nowSeconds - 3_500)
    const store = createLocalObjectStore({ root: `file://${join(folder, 'stale')}`, world })
    await store.put(`${store.root}/x`, bytes('x'))
    expect(await readdir(staging)).toEqual(['young'])
    await store.close()
  })

  test('folders go with their last object', async () => {
    const store = open('folders')
    await store.put(`${store.root}/a/b/c/1`, bytes('x'))
    await store.put(`${store.root}/a/2`, bytes('x'))
    await store.delete([`${store.root}/a/b/c/1`])
    expect(await readdir(join(folder, 'folders', 'a'))).toEqual(['2'])
    await store.delete([`${store.root}/a/2`])
    expect(await readdir(join(folder, 'folders'))).toEqual(['.millrace'])
    await store.close()
  })

  test('a root that was taken away is made anew', async () => {
    const store = open('vanished')
    await store.put(`${store.root}/a/x`, bytes('x'))
    await rm(join(folder, 'vanished'), { recursive: true })
    expect(await store.head(`${store.root}/a/x`)).toBeUndefined()
    await expect(store.put(`${store.root}/a/x`, bytes('x'))).rejects.toMatchObject({ code: 'store-unavailable' })
    await store.put(`${store.root}/a/x`, bytes('again'), { ifNoneMatch: '*' })
    expect((await store.get(`${store.root}/a/x`)).objectSize).toBe(5)
    await store.close()
  })

  test('many replacements in a row never repeat an etag', async () => {
    const store = open('etags')
    const etags = new Set<string>()
    for (let round = 0; round < 200; round++) {
      etags.add((await store.put(`${store.root}/x`, bytes(round % 2 === 0 ? 'a' : 'b'))).etag)
    }
    expect(etags.size).toBe(200)
    await store.close()
  })

  test('a root must be an absolute file URI', () => {
    for (const root of ['/plain', 'file://relative', 'file:///', 'file:///a/../b', 's3://bucket']) {
      expect(() => createLocalObjectStore({ root, world: createTestWorld() })).toThrow(/expected file:/)
    }
  })
})
