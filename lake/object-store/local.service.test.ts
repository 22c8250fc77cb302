import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { runToEnd, startProcess } from '../../test/harness/processes.ts'
import { createLocalObjectStore } from './local.ts'

let folder: string
let program: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-local-processes-'))
  program = join(folder, 'racer.ts')
  const here = (file: string) => JSON.stringify(join(import.meta.dirname, file))
  // Adds its own lines one by one to a shared object by compare and swap, and creates as many numbered objects as it can.
  await writeFile(
    program,
    `import { createLocalObjectStore } from ${here('local.ts')}
     import { createSystemWorld } from ${here('../../runtime/system-world.ts')}
     import { createTestWorld } from ${here('../../runtime/test-world.ts')}
     const [, , root, name, count] = process.argv
     const world = createSystemWorld({ log: createTestWorld().log })
     const store = createLocalObjectStore({ root, world })
     const refused = (error: unknown) => (error as { code?: string }).code === 'precondition-failed'
     console.log('racing')
     for (let line = 0; line < Number(count); line++) {
       for (;;) {
         const { bytes, etag } = await store.get(root + '/shared')
         const text = new TextDecoder().decode(bytes) + name + ':' + line + '\\n'
         try {
           await store.put(root + '/shared', new TextEncoder().encode(text), { ifMatch: etag })
           break
         } catch (error) {
           if (!refused(error)) throw error
         }
       }
       try {
         await store.put(root + '/created/' + line, new TextEncoder().encode(name), { ifNoneMatch: '*' })
         console.log('won ' + line)
       } catch (error) {
         if (!refused(error)) throw error
       }
     }
     await store.close()`,
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('local disk, several processes', () => {
  test('every compare and swap counts once, and every creation has one winner', async () => {
    const store = createLocalObjectStore({ root: `file://${join(folder, 'race')}`, world: createTestWorld() })
    await store.put(`${store.root}/shared`, new Uint8Array(0))
    const names = ['a', 'b', 'c', 'd']
    const lines = 40
    const outputs = await Promise.all(
      names.map((name) =>
        runToEnd({ name, command: process.execPath, args: [program, store.root, name, String(lines)] }),
      ),
    )
    const shared = new TextDecoder()
      .decode((await store.get(`${store.root}/shared`)).bytes)
      .trim()
      .split('\n')
    const expected = names.flatMap((name) => Array.from({ length: lines }, (_, line) => `${name}:${line}`))
    expect(shared.toSorted()).toEqual(expected.toSorted())
    const won = outputs.join('').match(/won \d+/g) ?? []
    expect(won.toSorted()).toEqual(Array.from({ length: lines }, (_, line) => `won ${line}`).toSorted())
    await store.close()
  })

  test('a writer killed with -9 anywhere leaves whole objects and holds nobody up', async () => {
    const store = createLocalObjectStore({ root: `file://${join(folder, 'killed')}`, world: createTestWorld() })
    await store.put(`${store.root}/shared`, new Uint8Array(0))
    for (let round = 0; round < 6; round++) {
      const name = `r${round}`
      const racer = await startProcess({
        name,
        command: process.execPath,
        args: [program, store.root, name, '100000'],
        ready: { line: /racing/ },
      })
      const before = (await store.get(`${store.root}/shared`)).objectSize
      while ((await store.get(`${store.root}/shared`)).objectSize < before + 20 * (round + 1)) {}
      await racer.kill()
      const text = new TextDecoder().decode((await store.get(`${store.root}/shared`)).bytes)
      const own = text.split('\n').filter((line) => line.startsWith(`${name}:`))
      expect(own).toEqual(own.map((_, line) => `${name}:${line}`))
      await store.put(`${store.root}/after-${round}`, new TextEncoder().encode('x'))
      await store.put(`${store.root}/after-${round}`, new TextEncoder().encode('y'))
    }
    await store.close()
  })
})
