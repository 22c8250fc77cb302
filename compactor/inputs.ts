/**
 * Files of the lake, opened for a rewrite: local ones where they are, remote ones fetched whole into the work folder
 * and removed afterwards. A file whose length or checksum is not the recorded one is an error naming it, before it is read:
 * damaged bytes would become rows of a new file that looks sound.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checksumOfFile } from '../lake/checksum.ts'
import type { MappedFile } from '../lake/file-mapping.ts'
import { FILE_SCHEME, localFileOf } from '../lake/object-store/object-path.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import { MillraceError } from '../schemas/errors.ts'
import type { Inputs } from './table-worker.ts'

const FETCHES_AT_ONCE = 8

export function createInputs(components: { store: ObjectStore; workFolder: string }): Inputs {
  const { store, workFolder } = components
  let sequence = 0

  async function requireChecksum(path: string, localFile: string, expected: string): Promise<void> {
    const found = await checksumOfFile(localFile)
    if (found === expected) return
    throw new MillraceError('file-damaged', `${path}: its bytes have the checksum ${found}, expected ${expected}`, {
      facts: { path },
    })
  }

  async function fetchFile(path: string, bytes: number, fetched: string[]): Promise<string> {
    const object = await store.get(path)
    if (object.bytes.length !== bytes) {
      throw new MillraceError('file-damaged', `${path}: expected ${bytes} bytes, found ${object.bytes.length}`)
    }
    sequence += 1
    const localFile = join(workFolder, `input-${sequence}.parquet`)
    await writeFile(localFile, object.bytes)
    fetched.push(localFile)
    return localFile
  }

  return {
    async open(files) {
      await mkdir(workFolder, { recursive: true })
      const fetched: string[] = []
      const release = async () => {
        await Promise.all(fetched.map((each) => rm(each, { force: true })))
      }
      const opened: MappedFile[] = new Array(files.length)
      let next = 0
      const worker = async () => {
        for (let index = next++; index < files.length; index = next++) {
          const { path, bytes, checksum } = files[index]
          const localFile = path.startsWith(FILE_SCHEME) ? localFileOf(path) : await fetchFile(path, bytes, fetched)
          const footer = await readLocalFooter(localFile, bytes)
          if (checksum !== undefined) await requireChecksum(path, localFile, checksum)
          opened[index] = { path, localFile, footer }
        }
      }
      try {
        await Promise.all(Array.from({ length: FETCHES_AT_ONCE }, worker))
      } catch (error) {
        await release()
        throw error
      }
      return { files: opened, release }
    },
  }
}
