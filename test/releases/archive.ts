/**
 * Many small files as one compressed one, for fixtures in the repository.
 *
 *   zstd( <bytes of the list, 4 bytes little-endian> <list, JSON: [[name, bytes], …]> <file> <file> … )
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

const LEVEL = 19

export function packFiles(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const list = Buffer.from(JSON.stringify([...files].map(([name, bytes]) => [name, bytes.length])))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(list.length)
  const plain = Buffer.concat([length, list, ...files.values()])
  return zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })
}

export function unpackFiles(packed: Uint8Array): Map<string, Uint8Array> {
  const plain = zstdDecompressSync(packed)
  let at = 4 + plain.readUInt32LE(0)
  const list = JSON.parse(plain.subarray(4, at).toString()) as [string, number][]
  const files = new Map<string, Uint8Array>()
  for (const [name, length] of list) {
    files.set(name, new Uint8Array(plain.subarray(at, at + length)))
    at += length
  }
  if (at !== plain.length) throw new Error(`the list names ${at} bytes, there are ${plain.length}`)
  return files
}
