import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frameId, frameMessage, frameProblem, readFrame } from './format.ts'

function zigzag(value: number): number[] {
  const bytes: number[] = []
  let rest = value * 2
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  return [...bytes, rest]
}

test('a frame gives schema id and message as its serializer wrote them, and a cut one is refused', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 32 - 1), fc.array(fc.nat(100_000), { maxLength: 5 }), fc.boolean(), (id, path, isShort) => {
      const header = Buffer.alloc(5)
      header.writeUInt32BE(id, 1)
      const isFirst = path.length === 0 || (isShort && path.length === 1 && path[0] === 0)
      const indexes = isFirst ? [0] : [...zigzag(path.length), ...path.flatMap(zigzag)]
      const record = Buffer.from([7, ...header, ...indexes, 99])
      expect(readFrame(record, 1, record.length, true)).toBe(6 + indexes.length)
      expect([frameId, frameMessage]).toEqual([id, isFirst ? '0' : path.join(',')])
      expect(readFrame(record, 1, record.length, false)).toBe(6)
      for (let end = 1; end < record.length - 1; end += 1) {
        expect(readFrame(record, 1, end, true)).toBe(-1)
        expect(frameProblem).toMatch(/^(truncated|empty record): /)
      }
    }),
  )
})

test('what is no frame says what it found', () => {
  const problemOf = (...bytes: number[]) => {
    expect(readFrame(Uint8Array.from(bytes), 0, bytes.length, true)).toBe(-1)
    return frameProblem
  }
  expect(problemOf(0x7b, 0x7d)).toBe('expected magic byte 0 of a registry frame, found 123 at byte 0')
  expect(problemOf(0, 0, 0)).toBe('truncated: a registry frame has 5 bytes, the record 3')
  expect(problemOf(0, 0, 0, 0, 1, 1)).toBe('malformed message index in the registry frame at byte 6')
  expect(problemOf(0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 1)).toMatch('malformed message index')
})
