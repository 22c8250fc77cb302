/** A dead letter for people: bytes that are text as text, others as base64, told apart; headers one by one. Pure. */

export type ShownBytes = { readonly text: string } | { readonly base64: string } | null

export type ShownLetter = {
  readonly source: unknown
  readonly partition: unknown
  readonly offset: unknown
  readonly topic: unknown
  readonly pipeline: unknown
  readonly timestamp: unknown
  readonly arrived: unknown
  readonly kind: unknown
  readonly column: unknown
  readonly reason: unknown
  readonly headers: readonly { readonly name: string; readonly value: ShownBytes }[]
  readonly key: ShownBytes
  readonly value: ShownBytes
}

/** A row with `key`, `value` and `headers` in base64. */
export function shownLetter(row: Readonly<Record<string, unknown>>): ShownLetter {
  const { source, partition, offset, topic, pipeline, timestamp, arrived, kind, column, reason } = row
  return {
    ...{ source, partition, offset, topic, pipeline, timestamp, arrived, kind, column, reason },
    headers: headersOf(bytesOf(row.headers)),
    key: shown(bytesOf(row.key)),
    value: shown(bytesOf(row.value)),
  }
}

function bytesOf(base64: unknown): Buffer | null {
  return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : null
}

function shown(bytes: Buffer | null): ShownBytes {
  if (bytes === null) return null
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { base64: bytes.toString('base64') }
  }
}

/** As they lie in a record: a count, then name and value with their lengths, all of them zigzag varints. */
function headersOf(bytes: Buffer | null): ShownLetter['headers'] {
  if (bytes === null) return []
  let at = 0
  const varint = () => {
    let magnitude = 0
    for (let shift = 0; at < bytes.length; shift += 7) {
      const byte = bytes[at++]
      magnitude += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    return magnitude % 2 === 0 ? magnitude / 2 : -(magnitude + 1) / 2
  }
  const slice = () => {
    const length = varint()
    if (length < 0) return null
    at += length
    return bytes.subarray(at - length, at)
  }
  const count = varint()
  const headers: { name: string; value: ShownBytes }[] = []
  while (headers.length < count && at < bytes.length) {
    headers.push({ name: slice()?.toString() ?? '', value: shown(slice()) })
  }
  return headers
}
