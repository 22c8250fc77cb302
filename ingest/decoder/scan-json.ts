/**
 * Strict RFC 8259 over UTF-8 bytes, without making values: `skipValue` returns the position after a value, or -1 with
 * `scanProblem` and `scanProblemAt` saying what is wrong and where. It accepts what `JSON.parse` accepts of the same
 * text decoded as strict UTF-8, except nesting deeper than `DEPTH_MAX`. It does not recurse.
 */
export const DEPTH_MAX = 1000

export let scanProblem = ''
export let scanProblemAt = 0
/** Of the string last skipped: whether it holds a backslash. */
export let stringHasEscape = false

const OBJECT = 1
const ARRAY = 2
const containers = new Uint8Array(DEPTH_MAX + 1)

/** 1 for a byte that ends the plain run inside a string: quote, backslash, control, not ASCII. */
export const STOPS = new Uint8Array(256)
for (let byte = 0; byte < 256; byte += 1)
  STOPS[byte] = byte < 0x20 || byte >= 0x80 || byte === 0x22 || byte === 0x5c ? 1 : 0

/** 0..15 for a hex digit, else 255. */
export const HEX = new Uint8Array(256).fill(255)
for (let digit = 0; digit < 16; digit += 1) {
  HEX[digit.toString(16).charCodeAt(0)] = digit
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit
}

export function problem(text: string, at: number): -1 {
  scanProblem = text
  scanProblemAt = at
  return -1
}

export function skipSpace(bytes: Uint8Array, at: number, end: number): number {
  let position = at
  while (position < end) {
    const byte = bytes[position]
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break
    position += 1
  }
  return position
}

/** `at` is behind the opening quote; returns the position of the closing one. */
export function skipString(bytes: Uint8Array, at: number, end: number): number {
  let position = at
  stringHasEscape = false
  for (;;) {
    while (position < end && STOPS[bytes[position]] === 0) position += 1
    if (position >= end) return problem('text ends inside a string', end)
    const byte = bytes[position]
    if (byte === 0x22) return position
    if (byte === 0x5c) {
      stringHasEscape = true
      position = skipEscape(bytes, position, end)
      if (position < 0) return -1
    } else if (byte < 0x20) return problem('control character in a string', position)
    else {
      const length = utf8Length(bytes, position, end)
      if (length === 0) return problem('invalid UTF-8', position)
      position += length
    }
  }
}

function skipEscape(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 >= end) return problem('text ends inside a string', end)
  switch (bytes[at + 1]) {
    case 0x22:
    case 0x5c:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return at + 2
    case 0x75:
      for (let digit = at + 2; digit < at + 6; digit += 1) {
        if (digit >= end) return problem('text ends inside a string', end)
        if (HEX[bytes[digit]] > 15) return problem('bad escape in a string', digit)
      }
      return at + 6
    default:
      return problem('bad escape in a string', at + 1)
  }
}

/** Length of the well-formed multi-byte sequence at `at` (no overlong forms, no surrogates, at most U+10FFFF); else 0. */
export function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]
  if (lead < 0xc2 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  if (at + length > end) return 0
  const second = bytes[at + 1]
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return 0
  for (let next = 2; next < length; next += 1) if ((bytes[at + next] & 0xc0) !== 0x80) return 0
  return length
}

export function skipNumber(bytes: Uint8Array, at: number, end: number): number {
  let position = at
  if (position < end && bytes[position] === 0x2d) position += 1
  if (position >= end) return problem('text ends inside a number', end)
  if (bytes[position] === 0x30) position += 1
  else {
    const after = skipDigits(bytes, position, end)
    if (after === position) return problem('unexpected character', position)
    position = after
  }
  if (position < end && bytes[position] === 0x2e) {
    const after = skipDigits(bytes, position + 1, end)
    if (after === position + 1) return problem('digit missing in a number', after)
    position = after
  }
  if (position < end && (bytes[position] | 0x20) === 0x65) {
    position += 1
    if (position < end && (bytes[position] === 0x2b || bytes[position] === 0x2d)) position += 1
    const after = skipDigits(bytes, position, end)
    if (after === position) return problem('digit missing in a number', after)
    position = after
  }
  return position
}

function skipDigits(bytes: Uint8Array, at: number, end: number): number {
  let position = at
  while (position < end && bytes[position] >= 0x30 && bytes[position] <= 0x39) position += 1
  return position
}

function skipWord(bytes: Uint8Array, at: number, end: number, word: string): number {
  for (let index = 0; index < word.length; index += 1) {
    if (at + index >= end) return problem('text ends inside a word', end)
    if (bytes[at + index] !== word.charCodeAt(index)) return problem('unexpected character', at + index)
  }
  return at + word.length
}

function skipScalar(bytes: Uint8Array, at: number, end: number): number {
  switch (bytes[at]) {
    case 0x22: {
      const quote = skipString(bytes, at + 1, end)
      return quote < 0 ? -1 : quote + 1
    }
    case 0x74:
      return skipWord(bytes, at, end, 'true')
    case 0x66:
      return skipWord(bytes, at, end, 'false')
    case 0x6e:
      return skipWord(bytes, at, end, 'null')
    default:
      return skipNumber(bytes, at, end)
  }
}

/** A key with its colon and the space around; returns where the value begins. */
function skipKey(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return problem('text ends inside an object', end)
  if (bytes[at] !== 0x22) return problem('expected a key', at)
  const quote = skipString(bytes, at + 1, end)
  return quote < 0 ? -1 : skipColon(bytes, quote + 1, end)
}

export function skipColon(bytes: Uint8Array, at: number, end: number): number {
  const colon = skipSpace(bytes, at, end)
  if (colon >= end) return problem('text ends inside an object', end)
  if (bytes[colon] !== 0x3a) return problem('expected a colon', colon)
  return skipSpace(bytes, colon + 1, end)
}

/** `at` is the value's first byte; `depth` how many containers are open around it. */
export function skipValue(bytes: Uint8Array, at: number, end: number, depth: number): number {
  let position = at
  let open = depth
  for (;;) {
    if (position >= end) return problem('text ends where a value is expected', end)
    const first = bytes[position]
    if (first === 0x7b || first === 0x5b) {
      if (open >= DEPTH_MAX) return problem(`nested deeper than ${DEPTH_MAX}`, position)
      const inside = skipSpace(bytes, position + 1, end)
      if (inside < end && bytes[inside] === first + 2) position = inside + 1
      else {
        open += 1
        containers[open] = first === 0x7b ? OBJECT : ARRAY
        position = first === 0x7b ? skipKey(bytes, inside, end) : inside
        if (position < 0) return -1
        continue
      }
    } else {
      position = skipScalar(bytes, position, end)
      if (position < 0) return -1
    }
    // A value has ended: close what ends with it, up to the next value of a container.
    for (;;) {
      if (open === depth) return position
      position = skipSpace(bytes, position, end)
      if (position >= end) return problem('text ends inside a container', end)
      const isObject = containers[open] === OBJECT
      const byte = bytes[position]
      if (byte === 0x2c) {
        position = skipSpace(bytes, position + 1, end)
        if (isObject) position = skipKey(bytes, position, end)
        if (position < 0) return -1
        break
      }
      if (byte !== (isObject ? 0x7d : 0x5d)) return problem('expected a comma or the end of a container', position)
      open -= 1
      position += 1
    }
  }
}

/** What kind of value begins with this byte, for messages. */
export function kindOfValue(byte: number): string {
  switch (byte) {
    case 0x22:
      return 'string'
    case 0x7b:
      return 'object'
    case 0x5b:
      return 'array'
    case 0x74:
    case 0x66:
      return 'boolean'
    case 0x6e:
      return 'null'
    default:
      return 'number'
  }
}

/**
 * Decodes the string content `[start, end)`, already checked by `skipString`, into `target` from `to` on; returns the
 * position behind. The result is never longer than the input. A lone surrogate escape becomes U+FFFD, as in UTF-8
 * made from what `JSON.parse` returns.
 */
export function decodeEscapes(bytes: Uint8Array, start: number, end: number, target: Uint8Array, to: number): number {
  let position = start
  let out = to
  while (position < end) {
    const byte = bytes[position]
    if (byte !== 0x5c) {
      target[out++] = byte
      position += 1
      continue
    }
    const escaped = bytes[position + 1]
    if (escaped !== 0x75) {
      target[out++] = plainEscape(escaped)
      position += 2
      continue
    }
    let code = hex4(bytes, position + 2)
    position += 6
    if (
      code >= 0xd800 &&
      code < 0xdc00 &&
      position + 6 <= end &&
      bytes[position] === 0x5c &&
      bytes[position + 1] === 0x75
    ) {
      const low = hex4(bytes, position + 2)
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
        position += 6
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd
    out = putCodePoint(target, out, code)
  }
  return out
}

function hex4(bytes: Uint8Array, at: number): number {
  return (HEX[bytes[at]] << 12) | (HEX[bytes[at + 1]] << 8) | (HEX[bytes[at + 2]] << 4) | HEX[bytes[at + 3]]
}

function plainEscape(escaped: number): number {
  switch (escaped) {
    case 0x62:
      return 8
    case 0x66:
      return 12
    case 0x6e:
      return 10
    case 0x72:
      return 13
    case 0x74:
      return 9
    default:
      return escaped
  }
}

function putCodePoint(target: Uint8Array, to: number, code: number): number {
  let out = to
  if (code < 0x80) target[out++] = code
  else if (code < 0x800) {
    target[out++] = 0xc0 | (code >> 6)
    target[out++] = 0x80 | (code & 0x3f)
  } else if (code < 0x10000) {
    target[out++] = 0xe0 | (code >> 12)
    target[out++] = 0x80 | ((code >> 6) & 0x3f)
    target[out++] = 0x80 | (code & 0x3f)
  } else {
    target[out++] = 0xf0 | (code >> 18)
    target[out++] = 0x80 | ((code >> 12) & 0x3f)
    target[out++] = 0x80 | ((code >> 6) & 0x3f)
    target[out++] = 0x80 | (code & 0x3f)
  }
  return out
}
