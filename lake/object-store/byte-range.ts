/** Half-open byte ranges against an object's size: past the end is cut, entirely past the end is refused. */
import { MillraceError } from '../../schemas/errors.ts'
import type { ByteRange } from './object-store.ts'

export function checkRange(path: string, range: ByteRange): void {
  const { start, end } = range
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end > start) return
  throw new MillraceError('request-invalid', `[${start}, ${end}) is not a range of bytes, asked of ${path}`, {
    facts: { path, start, end },
  })
}

export function cutRange(path: string, range: ByteRange, size: number): ByteRange {
  if (range.start < size) return { start: range.start, end: Math.min(range.end, size) }
  throw rangePastEnd(path, range, size)
}

export function rangePastEnd(path: string, range: ByteRange, size?: number): MillraceError {
  const found = size === undefined ? 'the end' : `the end at ${size}`
  return new MillraceError('request-invalid', `range [${range.start}, ${range.end}) of ${path} lies past ${found}`, {
    facts: { path, ...range, size },
  })
}
