/**
 * What every object store promises, as one suite: run on memory and local disk in the unit tests and on a real S3 server in
 * the service tests. `open` gives stores over the same bytes, each as another process would have it, so races are real.
 */
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ErrorCode, isMillraceError } from '../../schemas/errors.ts'
import type { ObjectInfo, ObjectStore } from './object-store.ts'

export type ConformanceSetup = {
  /** A store over the same root on every call; the root is empty at first. */
  readonly open: () => ObjectStore | Promise<ObjectStore>
  readonly close?: () => Promise<void>
}

export type ConformanceOptions = {
  readonly manyKeys: number
  /** Larger than what the store sends in one piece. */
  readonly largeFileBytes: number
}

const RACERS = 32
const RACE_ROUNDS = 4
const text = (value: string) => new TextEncoder().encode(value)
const asText = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

export function describeObjectStore(
  name: string,
  setup: () => Promise<ConformanceSetup>,
  options: ConformanceOptions,
): void {
  describe(`object store: ${name}`, () => {
    let parts: ConformanceSetup
    let store: ObjectStore
    let at: (key: string) => string

    beforeAll(async () => {
      parts = await setup()
      store = await parts.open()
      at = (key) => `${store.root}/${key}`
    })
    afterAll(async () => {
      await store?.close()
      await parts?.close?.()
    })

    async function listed(prefix: string): Promise<ObjectInfo[]> {
      return Array.fromAsync(store.list(prefix))
    }
    async function refused(work: Promise<unknown>, code: ErrorCode, mentions: string): Promise<void> {
      const error = await work.then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      if (!isMillraceError(error, code)) throw new Error(`expected ${code}, got ${String(error)}`, { cause: error })
      expect(error.message).toContain(mentions)
    }
    async function race(work: (racer: ObjectStore, index: number) => Promise<unknown>): Promise<number[]> {
      const racers = await Promise.all(Array.from({ length: RACERS }, () => parts.open()))
      const outcomes = await Promise.allSettled(racers.map((racer, index) => work(racer, index)))
      await Promise.all(racers.map((racer) => racer.close()))
      for (const outcome of outcomes) {
        if (outcome.status === 'fulfilled') continue
        if (!isMillraceError(outcome.reason, 'precondition-failed')) throw outcome.reason
      }
      return outcomes.flatMap((outcome, index) => (outcome.status === 'fulfilled' ? [index] : []))
    }

    test('gives back what was put, with size and etag', async () => {
      const path = at('basic/one.txt')
      const put = await store.put(path, text('hello'))
      expect(put).toMatchObject({ path, size: 5 })
      expect(put.etag).toMatch(/^".+"$/)
      const got = await store.get(path)
      expect(asText(got.bytes)).toBe('hello')
      expect(got.objectSize).toBe(5)
      expect(got.etag).toBe(put.etag)
      const head = await store.head(path)
      expect(head).toMatchObject({ path, size: 5, etag: put.etag })
      expect(head!.modifiedAt).toBeGreaterThan(1_600_000_000_000_000n)
    })

    test('replaces an object as a whole', async () => {
      const path = at('basic/replaced')
      const first = await store.put(path, text('a long first version'))
      const second = await store.put(path, text('short'))
      expect(second.etag).not.toBe(first.etag)
      expect(asText((await store.get(path)).bytes)).toBe('short')
    })

    test('keeps an empty object', async () => {
      const path = at('basic/empty')
      expect((await store.put(path, new Uint8Array(0))).size).toBe(0)
      const got = await store.get(path)
      expect([got.bytes.byteLength, got.objectSize]).toEqual([0, 0])
      expect((await store.head(path))?.size).toBe(0)
      await refused(store.get(path, { range: { start: 0, end: 1 } }), 'request-invalid', path)
    })

    test('says which object is missing', async () => {
      const path = at('nothing/here')
      expect(await store.head(path)).toBeUndefined()
      await refused(store.get(path), 'file-missing', path)
      await refused(store.get(path, { range: { start: 0, end: 10 } }), 'file-missing', path)
      await refused(store.get(at('basic/one.txt/below')), 'file-missing', 'below')
      expect(await store.head(at('basic/one.txt/below'))).toBeUndefined()
      expect(await store.head(at('basic'))).toBeUndefined()
    })

    test('reads half-open ranges: at the start, in the middle, to the end, cut at the end', async () => {
      const path = at('ranges/bytes')
      const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251)
      const { etag } = await store.put(path, bytes)
      const ranges = [
        [0, 1, 1],
        [0, 100, 100],
        [500, 501, 501],
        [990, 1000, 1000],
        [990, 2000, 1000],
        [0, 1_000_000, 1000],
        [999, 1000, 1000],
      ]
      for (const [start, end, cutEnd] of ranges) {
        const got = await store.get(path, { range: { start, end } })
        expect(got.bytes).toEqual(bytes.slice(start, cutEnd))
        expect([got.objectSize, got.etag]).toEqual([1000, etag])
      }
      await refused(store.get(path, { range: { start: 1000, end: 1001 } }), 'request-invalid', path)
      await refused(store.get(path, { range: { start: 5000, end: 6000 } }), 'request-invalid', path)
      await refused(store.get(path, { range: { start: 10, end: 10 } }), 'request-invalid', path)
      await refused(store.get(path, { range: { start: -5, end: 10 } }), 'request-invalid', path)
      await refused(store.get(path, { range: { start: 0.5, end: 10 } }), 'request-invalid', path)
    })

    test('a read with an etag notices another object', async () => {
      const path = at('ranges/etag')
      const first = await store.put(path, text('first version'))
      expect(asText((await store.get(path, { range: { start: 0, end: 5 }, ifMatch: first.etag })).bytes)).toBe('first')
      await store.put(path, text('other version'))
      await refused(store.get(path, { range: { start: 0, end: 5 }, ifMatch: first.etag }), 'precondition-failed', path)
      await refused(store.get(path, { ifMatch: first.etag }), 'precondition-failed', path)
    })

    test('a read that was given up rejects with the signal reason', async () => {
      const path = at('ranges/signal')
      await store.put(path, text('x'))
      const reason = new Error('given up')
      await expect(store.get(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    })

    test('creates only once', async () => {
      const path = at('conditions/once')
      await store.put(path, text('first'), { ifNoneMatch: '*' })
      await refused(store.put(path, text('second'), { ifNoneMatch: '*' }), 'precondition-failed', path)
      expect(asText((await store.get(path)).bytes)).toBe('first')
    })

    test('replaces only the object it was told', async () => {
      const path = at('conditions/swap')
      const first = await store.put(path, text('1'))
      const second = await store.put(path, text('2'), { ifMatch: first.etag })
      await refused(store.put(path, text('3'), { ifMatch: first.etag }), 'precondition-failed', path)
      await store.put(path, text('4'), { ifMatch: second.etag })
      expect(asText((await store.get(path)).bytes)).toBe('4')
      await refused(store.put(at('conditions/none'), text('x'), { ifMatch: first.etag }), 'precondition-failed', 'none')
      expect(await store.head(at('conditions/none'))).toBeUndefined()
      await refused(store.put(path, text('x'), { ifMatch: first.etag, ifNoneMatch: '*' }), 'request-invalid', path)
    })

    test(`of ${RACERS} racers that create, exactly one wins`, async () => {
      for (let round = 0; round < RACE_ROUNDS; round++) {
        const path = at(`races/create-${round}`)
        const winners = await race((racer, index) => racer.put(path, text(`racer ${index}`), { ifNoneMatch: '*' }))
        expect(winners).toHaveLength(1)
        expect(asText((await store.get(path)).bytes)).toBe(`racer ${winners[0]}`)
      }
    })

    test(`of ${RACERS} racers that replace the same version, exactly one wins`, async () => {
      const path = at('races/replace')
      let { etag } = await store.put(path, text('start'))
      for (let round = 0; round < RACE_ROUNDS; round++) {
        // An S3 etag comes from the bytes: what a racer writes must differ from what an earlier round left.
        const words = (index: number) => `round ${round} racer ${index}`
        const winners = await race((racer, index) => racer.put(path, text(words(index)), { ifMatch: etag }))
        expect(winners).toHaveLength(1)
        const got = await store.get(path)
        expect(asText(got.bytes)).toBe(words(winners[0]))
        etag = got.etag
      }
    })

    test('counts to the number of writers by compare and swap', async () => {
      const path = at('races/counter')
      await store.put(path, text('0'))
      const writers = 8
      async function addOne(): Promise<void> {
        for (;;) {
          const { bytes, etag } = await store.get(path)
          try {
            await store.put(path, text(String(Number(asText(bytes)) + 1)), { ifMatch: etag })
            return
          } catch (error) {
            if (!isMillraceError(error, 'precondition-failed')) throw error
          }
        }
      }
      await Promise.all(Array.from({ length: writers }, addOne))
      expect(asText((await store.get(path)).bytes)).toBe(String(writers))
    })

    test('lists in key order, by prefix, across pages', async () => {
      const keys = Array.from({ length: options.manyKeys }, (_, index) => `many/${String(index).padStart(5, '0')}`)
      const batch = 50
      for (let from = 0; from < keys.length; from += batch) {
        await Promise.all(keys.slice(from, from + batch).map((key) => store.put(at(key), text(key))))
      }
      expect((await listed(at('many/'))).map((info) => info.path)).toEqual(keys.map(at))
      const tens = keys.filter((key) => key.startsWith('many/0000'))
      expect((await listed(at('many/0000'))).map((info) => info.path)).toEqual(tens.map(at))
      const [first] = await listed(at('many/00000'))
      const head = await store.head(at('many/00000'))
      expect([first.path, first.size, first.etag]).toEqual([head!.path, head!.size, head!.etag])
      // S3 says the time of one object in whole seconds.
      expect(first.modifiedAt / 1_000_000n).toBe(head!.modifiedAt / 1_000_000n)
      expect(await listed(at('no-such-folder/'))).toEqual([])
      await store.delete(keys.map(at))
      expect(await listed(at('many/'))).toEqual([])
    }, 120_000)

    test('orders a folder by its name with the slash, and keys by their UTF-8 bytes', async () => {
      const keys = ['order/a-b', 'order/a/x', 'order/a/y/z', 'order/a0', 'order/\u{ff5e}', 'order/\u{1f600}']
      for (const key of keys.toReversed()) await store.put(at(key), text(key))
      expect((await listed(at('order/'))).map((info) => info.path)).toEqual(keys.map(at))
      expect((await listed(at('order/a'))).map((info) => info.path)).toEqual(keys.slice(0, 4).map(at))
      const all = (await listed(store.root)).map((info) => info.path)
      expect(all.filter((path) => path.startsWith(at('order/')))).toEqual(keys.map(at))
    })

    test('stops listing when the reader does', async () => {
      for (const key of ['stop/1', 'stop/2', 'stop/3']) await store.put(at(key), text(key))
      for await (const info of store.list(at('stop/'))) {
        expect(info.path).toBe(at('stop/1'))
        break
      }
    })

    test('keeps odd names as they are', async () => {
      const names = [
        'with space',
        'plus+and&ampersand=equals',
        'percent%20literal',
        'S\u00e3o Paulo/\u6771\u4eac',
        'quote\'"semi;comma,',
        'hour=5/city=S%C3%A3o',
        'bracket[1]{2}(3)',
        'hash#question?tilde~',
        '.hidden',
        'emoji-\u{1f680}',
      ]
      for (const name of names) {
        const path = at(`odd/${name}`)
        await store.put(path, text(name), { ifNoneMatch: '*' })
        expect(asText((await store.get(path)).bytes)).toBe(name)
        expect((await store.head(path))?.path).toBe(path)
      }
      expect(new Set((await listed(at('odd/'))).map((info) => info.path))).toEqual(
        new Set(names.map((name) => at(`odd/${name}`))),
      )
      await store.delete(names.map((name) => at(`odd/${name}`)))
      expect(await listed(at('odd/'))).toEqual([])
    })

    test('refuses paths outside of its root and keys that a file system reads in its own way', async () => {
      const outside = ['s3://elsewhere/x', 'file:///etc/passwd', `${store.root}-sibling/x`, store.root, 'relative/x']
      const bad = [
        '',
        'a//b',
        '../up',
        'a/../../up',
        './x',
        'a/.',
        'folder/',
        'zero\0byte',
        'line\nfeed',
        `long/${'x'.repeat(300)}`,
      ]
      for (const path of [...outside, ...bad.map(at)]) {
        await refused(store.put(path, text('x')), 'request-invalid', path)
        await refused(store.get(path), 'request-invalid', path)
        await refused(store.head(path), 'request-invalid', path)
        await refused(store.delete([path]), 'request-invalid', path)
      }
      await refused(listed('s3://elsewhere/'), 'request-invalid', 's3://elsewhere/')
      await refused(listed(at('../')), 'request-invalid', '../')
    })

    test('deletes what is there and does not mind what is not', async () => {
      const kept = at('deletes/kept')
      const paths = [at('deletes/deep/er/1'), at('deletes/deep/2')]
      for (const path of [kept, ...paths]) await store.put(path, text('x'))
      await store.delete([...paths, at('deletes/never-there'), at('no-folder/never-there'), at('deletes')])
      for (const path of paths) expect(await store.head(path)).toBeUndefined()
      expect((await listed(at('deletes/'))).map((info) => info.path)).toEqual([kept])
      await store.delete([])
      await store.put(paths[0], text('again'), { ifNoneMatch: '*' })
      expect(asText((await store.get(paths[0])).bytes)).toBe('again')
    })

    test('creating and deleting in one folder at once loses nothing', async () => {
      const rounds = Array.from({ length: 40 }, (_, index) => at(`churn/folder/${index}`))
      await Promise.all(
        rounds.map(async (path, index) => {
          await store.put(path, text(path), { ifNoneMatch: '*' })
          if (index % 2 === 0) await store.delete([path])
        }),
      )
      const expected = rounds.filter((_, index) => index % 2 === 1)
      expect(new Set((await listed(at('churn/'))).map((info) => info.path))).toEqual(new Set(expected))
    })

    describe('a file of this machine', () => {
      let folder: string
      beforeAll(async () => {
        folder = await mkdtemp(join(tmpdir(), 'millrace-conformance-'))
      })
      afterAll(() => rm(folder, { recursive: true, force: true }))

      test('becomes an object, and later changes of the file do not reach it', async () => {
        const local = join(folder, 'small')
        await writeFile(local, 'content')
        const info = await store.putFile(at('files/small'), local, { ifNoneMatch: '*' })
        expect(info.size).toBe(7)
        await writeFile(local, 'CHANGED')
        expect(asText((await store.get(at('files/small'))).bytes)).toBe('content')
        await refused(
          store.putFile(at('files/small'), local, { ifNoneMatch: '*' }),
          'precondition-failed',
          'files/small',
        )
        const swapped = await store.putFile(at('files/small'), local, { ifMatch: info.etag })
        expect(asText((await store.get(at('files/small'), { ifMatch: swapped.etag })).bytes)).toBe('CHANGED')
        await refused(store.putFile(at('files/absent'), join(folder, 'absent')), 'file-missing', join(folder, 'absent'))
        expect(await store.head(at('files/absent'))).toBeUndefined()
      })

      test('of any size becomes one object, whole, and once', async () => {
        const local = join(folder, 'large')
        const size = options.largeFileBytes
        await writeFile(local, text('start of a large file'))
        await truncate(local, size - 3)
        await writeFile(local, text('end'), { flag: 'a' })
        const path = at('files/large')
        const info = await store.putFile(path, local, { ifNoneMatch: '*' })
        expect(info.size).toBe(size)
        expect(await store.head(path)).toMatchObject({ size, etag: info.etag })
        expect(asText((await store.get(path, { range: { start: 0, end: 5 } })).bytes)).toBe('start')
        const tail = await store.get(path, { range: { start: size - 4, end: size + 4 }, ifMatch: info.etag })
        expect([asText(tail.bytes), tail.objectSize]).toEqual(['\0end', size])
        await refused(store.putFile(path, local, { ifNoneMatch: '*' }), 'precondition-failed', path)
        await refused(store.putFile(path, local, { ifMatch: '"stale"' }), 'precondition-failed', path)
        expect((await store.head(path))?.etag).toBe(info.etag)
        await store.delete([path])
      }, 120_000)
    })
  })
}
