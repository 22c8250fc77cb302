/** The benchmarks' records in Avro, with a given schema, and the connector that reads them into the same table. */
import avsc from 'avsc'
import type { BatchRecord } from '../test/harness/produce.ts'
import { COLUMNS, recordOf, TABLE, TOPIC } from './records.ts'

const SCHEMA = {
  type: 'record',
  name: 'Event',
  fields: [
    { name: 'ts', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'id', type: 'long' },
    { name: 'user_id', type: 'long' },
    { name: 'country', type: 'string' },
    { name: 'device', type: 'string' },
    { name: 'url', type: 'string' },
    { name: 'status', type: 'int' },
    { name: 'latency', type: 'double' },
    { name: 'amount', type: { type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 } },
    { name: 'ok', type: 'boolean' },
    { name: 'items', type: 'int' },
    { name: 'session', type: 'string' },
  ],
} as const
const TYPE = avsc.Type.forSchema(SCHEMA as unknown as avsc.Schema)

/** Row for row what `recordOf` gives. */
export function avroRecordOf(index: number, nowMs?: number, isLong?: boolean): BatchRecord {
  const { value, timestamp } = recordOf(index, nowMs, isLong)
  const row = JSON.parse(String(value)) as Record<string, number | string | boolean>
  const cents = Buffer.alloc(4)
  cents.writeInt32BE(Math.round(Number(row.amount) * 100))
  return { value: TYPE.toBuffer({ ...row, ts: Date.parse(String(row.ts)), amount: cents }), timestamp }
}

export function avroEventsYaml(bootstrap: string): string {
  return `
kafka.bootstrap: [${JSON.stringify(bootstrap)}]
tables:
  ${TABLE}:
    columns: ${COLUMNS}
    event-time: ts
    partition: [day(ts)]
    sort: [ts]
connectors:
  ${TABLE}:
    connector.class: Millrace
    topics: ${TOPIC}
    millrace.table: ${TABLE}
    millrace.value.format: avro
    millrace.value.schema: '${JSON.stringify(SCHEMA)}'
log.level: warn
`
}
