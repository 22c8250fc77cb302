// Bad records over Kafka: each becomes a dead letter with place, reason and its own bytes, and everything else flows on (G-5).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { type Codec, createProducer, type Producer } from '../harness/produce.ts'
import { checkCommand } from '../lake/check-lake.ts'

const TOPIC = 'mixed'
const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const RECORD_BYTES_MAX = 4096
const BAD: readonly { readonly value: string | Buffer; readonly reason: string; readonly column?: string }[] = [
  { value: '{"id": 1, "name": "cut', reason: 'malformed JSON: text ends inside a string at byte 22' },
  { value: 'not json', reason: 'malformed JSON: unexpected character at byte 1' },
  { value: '', reason: 'malformed JSON: empty record at byte 0' },
  { value: '   ', reason: 'malformed JSON: empty record at byte 3' },
  { value: '[1, 2]', reason: 'expected an object, found array at byte 0' },
  { value: 'null', reason: 'expected an object, found null at byte 0' },
  { value: '"text"', reason: 'expected an object, found string at byte 0' },
  { value: '{"id": 1} trailing', reason: 'malformed JSON: more text after the object at byte 10' },
  { value: '{"id": "seven"}', reason: 'expected long, found text that is no number at byte 7', column: 'id' },
  { value: '{"id": 1, "flag": 7}', reason: 'expected boolean, found number at byte 18', column: 'flag' },
  {
    value: '{"id": 1, "at": "yesterday"}',
    reason: 'expected timestamp, found text that is no timestamp at byte 16',
    column: 'at',
  },
  {
    value: '{"id": 1, "small": 2147483648}',
    reason: 'expected int, found number out of range at byte 19',
    column: 'small',
  },
  { value: '{"id": 9223372036854775808}', reason: 'expected long, found number out of range at byte 7', column: 'id' },
  {
    value: '{"id": 1, "price": 1000.00}',
    reason: 'expected decimal(5,2), found number out of range at byte 19',
    column: 'price',
  },
  { value: '{"small": 1}', reason: 'expected long, found nothing; it is required', column: 'id' },
  { value: '{"id": null}', reason: 'expected long, found null; it is required', column: 'id' },
  {
    value: Buffer.concat([Buffer.from('{"id": 1, "name": "'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
    reason: 'malformed JSON: invalid UTF-8 at byte 19',
  },
  {
    value: `{"id": 1, "name": "${'x'.repeat(RECORD_BYTES_MAX)}"}`,
    reason: `record of ${RECORD_BYTES_MAX + 21} bytes is larger than ingest.record.bytes.max (${RECORD_BYTES_MAX})`,
  },
]

let kafka: KafkaBroker
let producer: Producer
let millrace: Millrace

beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
ingest.record.bytes.max: ${RECORD_BYTES_MAX}
query.memory: 256 MiB
tables:
  mixed:
    columns: { id: long required, small: int, price: "decimal(5,2)", at: timestamp, flag: boolean, name: string }
pipelines:
  mixed: { topics: [${TOPIC}], tables: [mixed] }
`,
  })
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

test('dead letters keep place, reason and bytes; rows of all codecs, tombstones and transactions around them flow on', async () => {
  await kafka.createTopic(TOPIC, 2)
  const letters: { partition: number; offset: number; key: string; value: Buffer; reason: string; column?: string }[] =
    []
  const goodIds: number[] = []
  let next = 0
  const good = () => {
    goodIds.push(next)
    return { key: `g${next}`, value: JSON.stringify({ id: next++, small: -1, price: 12.34, flag: true, name: 'ok' }) }
  }
  let tombstones = 0
  for (const [round, bad] of BAD.entries()) {
    const partition = round % 2
    const key = `bad ${round}`
    const records = [good(), { key, value: bad.value }, good(), { key: 'gone', value: null }, good()]
    tombstones += 1
    const codec = CODECS[round % CODECS.length]
    const base = await producer.send(TOPIC, partition, records, { codec })
    letters.push({ ...bad, partition, offset: base + 1, key, value: Buffer.from(bad.value) })
    const transaction = await producer.begin(`t-${round % 3}`)
    if (round % 2 === 0) {
      await transaction.send(TOPIC, partition, [{ value: '{"id": -1}' }, { value: 'aborted and bad' }], { codec })
      await transaction.abort()
    } else {
      await transaction.send(TOPIC, partition, [good(), good()], { codec })
      await transaction.commit()
    }
  }
  await Promise.all([millrace.start('query'), millrace.start('ingest')])
  await millrace.eventually('SELECT count(*) FROM mixed', (rows) => Number(rows) >= goodIds.length)
  await millrace.eventually('SELECT count(*) FROM mixed__dead_letters', (rows) => Number(rows) >= letters.length)

  const rows = await millrace.sql('SELECT id, small, CAST(price AS VARCHAR), flag, name FROM mixed ORDER BY id')
  expect(rows.data.map((row) => [Number(row[0]), ...row.slice(1)])).toEqual(
    goodIds.map((id) => [id, -1, '12.34', true, 'ok']),
  )
  const { data } = await millrace.sql(`
    SELECT topic, "partition", "offset", hex(raw), hex(raw_key), reason, "column", _partition, _offset
    FROM mixed__dead_letters ORDER BY "partition", "offset"`)
  const wanted = letters.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset)
  expect(data.map(([topic, partition, offset, raw, key]) => [topic, partition, Number(offset), raw, key])).toEqual(
    wanted.map((letter) => [
      TOPIC,
      letter.partition,
      letter.offset,
      letter.value.toString('hex').toUpperCase(),
      Buffer.from(letter.key).toString('hex').toUpperCase(),
    ]),
  )
  expect(data.map((row) => [row[5], row[6], row[7], Number(row[8])])).toEqual(
    wanted.map(({ reason, column, partition, offset }) => [
      column === undefined ? reason : `column "${column}": ${reason}`,
      column ?? null,
      partition,
      offset,
    ]),
  )

  const metrics = await (await fetch(`${millrace.url('ingest')}/metrics`)).text()
  const counted = (what: string) =>
    Number(new RegExp(`^millrace_ingest_records_total\\{[^}]*what="${what}"[^}]*\\} (\\d+)`, 'm').exec(metrics)?.[1])
  expect(counted('dead')).toBe(letters.length)
  const aborted = Math.ceil(BAD.length / 2) * 2
  // Aborted records and one marker for each transaction's end are filtered as tombstones are.
  expect(counted('filtered')).toBe(tombstones + aborted + BAD.length)
  // Rows, dead letters and tombstones add up to what was consumed.
  expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
})
