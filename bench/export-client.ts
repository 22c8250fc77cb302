/**
 * The client of the export benchmark, a thread of its own: reading hundreds of megabytes and counting in them would otherwise hold
 * up the small queries that the main thread takes the time of. It says when it has read everything, and then what it found.
 */
import { parentPort } from 'node:worker_threads'
import { tableFromIPC } from 'apache-arrow'
import { request } from 'undici'

export type ExportAsked = { readonly url: string; readonly sql: string; readonly format: string }
export type ExportRead = { readonly seconds: number; readonly bytes: number }
export type ExportFound = { readonly rows: number; readonly sum: bigint }

parentPort?.on('message', async (asked: ExportAsked) => {
  const started = performance.now()
  const { statusCode, body } = await request(asked.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: asked.sql, format: asked.format }),
  })
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of body as AsyncIterable<Buffer>) {
    parts.push(part)
    bytes += part.length
  }
  const seconds = (performance.now() - started) / 1000
  if (statusCode !== 200) throw new Error(`${statusCode} ${Buffer.concat(parts).toString().slice(0, 1000)}`)
  parentPort?.postMessage({ seconds, bytes } satisfies ExportRead)
  parentPort?.postMessage(idsOf(asked.format, Buffer.concat(parts)))
})

function idsOf(format: string, bytes: Buffer): ExportFound {
  if (format === 'arrow') {
    const table = tableFromIPC(bytes)
    let sum = 0n
    for (const batch of table.getChild('id')!.data) for (const id of batch.values as BigInt64Array) sum += id
    return { rows: table.numRows, sum }
  }
  let sum = 0
  let rows = 0
  const pattern = format === 'csv' ? /^[^,]*,(\d+),/gm : /"id":"(\d+)"/g
  const text = bytes.toString('latin1')
  for (const [, id] of text.matchAll(pattern)) {
    sum += Number(id)
    rows += 1
  }
  return { rows, sum: BigInt(sum) }
}
