/**
 * Which ranges of a sparse file are filled: a text file beside it, only ever appended to.
 *
 *   <crc32c of the text that follows> ["s3://…", 316000000, "\"etag\""]
 *   <start> <end> <crc32c of the bytes> <crc32c of this line's first three words>
 *
 * A line that was torn by a crash fails its own check and counts as absent, and so does everything after it that does not
 * pass. The lines only propose: bytes are compared with their checksum before their first use in a process.
 */
import { crc32c } from '@node-rs/crc32'

export type IndexHead = { readonly path: string; readonly size: number; readonly etag: string | undefined }
export type IndexedRange = { readonly start: number; readonly end: number; readonly checksum: number }

export function formatHead({ path, size, etag }: IndexHead): string {
  const text = JSON.stringify([path, size, etag ?? null])
  return `${hex(crc32c(text))} ${text}\n`
}

export function formatRange({ start, end, checksum }: IndexedRange): string {
  const text = `${start} ${end} ${hex(checksum)}`
  return `${text} ${hex(crc32c(text))}\n`
}

/** undefined when the head is not whole: then nothing is known of the file. */
export function parseIndex(text: string): { readonly head: IndexHead; readonly ranges: IndexedRange[] } | undefined {
  const lines = text.split('\n')
  const head = parseHead(lines[0])
  if (head === undefined) return undefined
  // What follows the last newline is torn, whatever it says.
  const ranges = lines.slice(1, -1).flatMap((line) => parseRange(line, head.size) ?? [])
  return { head, ranges }
}

function parseHead(line: string): IndexHead | undefined {
  const text = line.slice(9)
  if (line.slice(0, 8) !== hex(crc32c(text))) return undefined
  const fields: unknown = JSON.parse(text)
  if (!Array.isArray(fields)) return undefined
  const [path, size, etag] = fields as unknown[]
  if (typeof path !== 'string' || typeof size !== 'number') return undefined
  return { path, size, etag: typeof etag === 'string' ? etag : undefined }
}

function parseRange(line: string, size: number): IndexedRange | undefined {
  const match = /^((\d+) (\d+) ([0-9a-f]{8})) ([0-9a-f]{8})$/.exec(line)
  if (match === null || match[5] !== hex(crc32c(match[1]))) return undefined
  const start = Number(match[2])
  const end = Number(match[3])
  return start < end && end <= size ? { start, end, checksum: Number.parseInt(match[4], 16) } : undefined
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
