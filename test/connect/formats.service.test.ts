/**
 * Every format as a user meets it: a connector made over REST, records in a real broker (schemas in a real registry where the
 * format has them), rows asked back over SQL, live and again from data files; key columns and headers beside them; each kind
 * of bad record once, its bytes as they came among the dead letters (G-1, G-2, G-5).
 */
import avro from 'avsc'
import protobuf from 'protobufjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type SchemaRegistry, startSchemaRegistry } from '../harness/schema-registry.ts'
import { checkCommand } from '../lake/check-lake.ts'

const RECORD_BYTES_MAX = 4096
const TIME = Date.UTC(2026, 0, 31, 10)

let kafka: KafkaBroker
let registry: SchemaRegistry
let producer: Producer
let millrace: Millrace

beforeAll(async () => {
  const started = await Promise.all([startKafka(), startSchemaRegistry()])
  kafka = started[0]
  registry = started[1]
  producer = await createProducer(kafka.bootstrap)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.topics.refresh.ms: 500
flush.interval.ms: 100
ingest.record.bytes.max: ${RECORD_BYTES_MAX}
snapshot.age.ms: 500 ms
compaction.interval.ms: 200
compaction.memory: 256 MiB
query.memory: 256 MiB
`,
  })
  await Promise.all([millrace.start('ingest'), millrace.start('query')])
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await registry?.[Symbol.asyncDispose]()
  await kafka?.[Symbol.asyncDispose]()
})

type Bytes = string | Buffer
type Good = { readonly value: Bytes; readonly key?: Bytes; readonly row: readonly unknown[] }
type Bad = { readonly value: Bytes; readonly key?: Bytes; readonly reason: RegExp }
type Format = {
  readonly name: string
  readonly config: Readonly<Record<string, string>>
  /** What is asked of each row, in the order of offsets. */
  readonly select: string
  readonly good: readonly Good[]
  readonly bad: readonly Bad[]
}

const JSON_CONVERTER = 'org.apache.kafka.connect.json.JsonConverter'
const bytes = (...parts: readonly (string | readonly number[])[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))))
const framed = (id: number, data: Uint8Array, indexes: readonly number[] = []) => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(indexes), data])
}

const COLUMNS =
  'id long required, price decimal(9,2), at timestamptz, to struct<city: string, lines: list<string>>, rates map<string, double>'

const jsonValue = (id: number) =>
  JSON.stringify({
    id,
    price: 12.34,
    at: '2026-01-31T10:00:00.5Z',
    to: { city: `c${id}`, lines: ['a', 'b'] },
    rates: { EUR: 1.5, USD: null },
  })
const SELECT = `id::INTEGER, price::VARCHAR, epoch_ms("at")::VARCHAR, "to".city, "to".lines, rates['EUR']`
const rowOf = (id: number) => [id, '12.34', String(TIME + 500), `c${id}`, ['a', 'b'], 1.5]
const tooLarge = /is larger than ingest\.record\.bytes\.max/

const plainJson: Format = {
  name: 'plain_json',
  config: {
    'millrace.columns': `${COLUMNS}, key_n int`,
    'millrace.key.prefix': 'key_',
    'key.converter': JSON_CONVERTER,
    'key.converter.schemas.enable': 'false',
  },
  select: `${SELECT}, key_tenant, key_n::INTEGER`,
  good: [
    { key: '{"tenant": "t", "n": 7}', value: jsonValue(1), row: [...rowOf(1), 't', 7] },
    { key: '{"tenant": "u"}', value: jsonValue(2), row: [...rowOf(2), 'u', null] },
    { value: '{"id": 3}', row: [3, null, null, null, null, null, null, null] },
  ],
  bad: [
    { value: '{"id": 1, "price', reason: /malformed JSON: text ends/ },
    { value: 'no JSON', reason: /malformed JSON/ },
    { value: '', reason: /empty record/ },
    { value: '[1]', reason: /expected an object, found array/ },
    { value: 'null', reason: /expected an object, found null/ },
    { value: bytes('{"id": 1, "to": {"city": "', [0xff], '"}}'), reason: /invalid UTF-8/ },
    { value: '{"id": "x"}', reason: /column "id": expected long/ },
    { value: '{"id": 1, "to": {"city": 5}}', reason: /column "to\.city": expected string, found number/ },
    { value: '{"id": 1, "to": {"lines": ["a", 1]}}', reason: /column "to\.lines.*": expected string, found number/ },
    { value: '{"id": 1, "rates": {"EUR": "much"}}', reason: /column "rates.*": expected double/ },
    { value: '{"id": 1, "price": 1.234}', reason: /column "price": expected decimal\(9,2\)/ },
    { value: '{"price": 1}', reason: /column "id": expected long, found nothing; it is required/ },
    { value: `{"id": 1, "to": {"city": "${'x'.repeat(RECORD_BYTES_MAX)}"}}`, reason: tooLarge },
    { value: `{"id": 1, "deep": ${'['.repeat(1900)}${']'.repeat(1900)}}`, reason: /nest/ },
    { key: '{"tenant": ', value: jsonValue(4), reason: /key: malformed JSON/ },
    { key: '{"n": "seven"}', value: jsonValue(4), reason: /key: column "n": expected int/ },
  ],
}

const envelopeSchema = {
  type: 'struct',
  name: 'order',
  fields: [
    { field: 'id', type: 'int64', optional: false },
    {
      field: 'price',
      type: 'bytes',
      optional: true,
      name: 'org.apache.kafka.connect.data.Decimal',
      version: 1,
      parameters: { scale: '2', 'connect.decimal.precision': '9' },
    },
    { field: 'at', type: 'int64', optional: true, name: 'org.apache.kafka.connect.data.Timestamp', version: 1 },
    {
      field: 'to',
      type: 'struct',
      optional: true,
      fields: [
        { field: 'city', type: 'string', optional: true },
        { field: 'lines', type: 'array', optional: true, items: { type: 'string', optional: true } },
      ],
    },
    {
      field: 'rates',
      type: 'map',
      optional: true,
      keys: { type: 'string' },
      values: { type: 'double', optional: true },
    },
  ],
}
const enveloped = (payload: unknown, schema: unknown = envelopeSchema) => JSON.stringify({ schema, payload })
/** 1234 unscaled. */
const PRICE = Buffer.from([0x04, 0xd2])
const envelopePayload = (id: number) => ({
  id,
  price: PRICE.toString('base64'),
  at: TIME + 500,
  to: { city: `c${id}`, lines: ['a', 'b'] },
  rates: { EUR: 1.5 },
})

const envelope: Format = {
  name: 'enveloped',
  config: {
    'value.converter': JSON_CONVERTER,
    'value.converter.schemas.enable': 'true',
    'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
    'millrace.key.prefix': 'key_',
  },
  select: `${SELECT}, "key"`,
  good: [
    { key: 'k1', value: enveloped(envelopePayload(1)), row: [...rowOf(1), 'k1'] },
    { key: '', value: enveloped(envelopePayload(2)), row: [...rowOf(2), ''] },
    { value: enveloped({ id: 3 }), row: [3, null, null, null, null, null, null] },
  ],
  bad: [
    { value: '{"schema": {', reason: /malformed JSON/ },
    { value: '{"id": 1}', reason: /schema.*payload/ },
    { value: enveloped({ id: 1 }, { type: 'nothing' }), reason: /type/ },
    { value: enveloped({ id: 1 }, { type: 'string' }), reason: /./ },
    { value: enveloped({ id: 'x' }), reason: /"id": expected/ },
    { value: enveloped({}), reason: /"id"/ },
    { value: enveloped({ id: 1, to: { city: 5 } }), reason: /"to\.city": expected/ },
    { value: enveloped({ id: 1, price: '!!' }), reason: /"price"/ },
    { value: bytes('{"schema": null, "payload": {"id": "', [0xff], '"}}'), reason: /UTF-8/ },
    { value: enveloped({ id: 1, to: { city: 'x'.repeat(RECORD_BYTES_MAX) } }), reason: tooLarge },
  ],
}

const csv: Format = {
  name: 'csv_lines',
  config: {
    'millrace.value.format': 'csv',
    'millrace.value.csv.fields': 'id,price,at,city',
    'millrace.value.csv.delimiter': ';',
    'millrace.columns': 'id long required, price decimal(9,2), at timestamptz, city string',
  },
  select: 'id::INTEGER, price::VARCHAR, epoch_ms("at")::VARCHAR, city',
  good: [
    { value: '1;12.34;2026-01-31T10:00:00.5Z;"a;""b"""', row: [1, '12.34', String(TIME + 500), 'a;"b"'] },
    { value: '2;;;\r\n', row: [2, null, null, null] },
  ],
  bad: [
    { value: '', reason: /./ },
    { value: '1;2', reason: /expected 4 fields, found 2/ },
    { value: '1;2;3;4;5', reason: /expected 4 fields/ },
    { value: '1;;;"open', reason: /quote/ },
    { value: 'x;;;', reason: /column "id": expected long/ },
    { value: ';;;', reason: /column "id"/ },
    { value: '1;1.234;;', reason: /column "price"/ },
    { value: '1;;yesterday;', reason: /column "at"/ },
    { value: bytes('1;;;', [0xff]), reason: /UTF-8/ },
    { value: `1;;;${'x'.repeat(RECORD_BYTES_MAX)}`, reason: tooLarge },
    { value: '1;;;a\n2;;;b', reason: /./ },
  ],
}

const text: Format = {
  name: 'texts',
  config: { 'value.converter': 'org.apache.kafka.connect.storage.StringConverter' },
  select: 'value',
  good: [
    { value: 'any text ✓', row: ['any text ✓'] },
    { value: '', row: [''] },
    { value: '{"id": 1}', row: ['{"id": 1}'] },
  ],
  bad: [
    { value: bytes('a', [0xc3, 0x28]), reason: /UTF-8/ },
    { value: 'x'.repeat(RECORD_BYTES_MAX + 1), reason: tooLarge },
  ],
}

const raw: Format = {
  name: 'raw_bytes',
  config: { 'value.converter': 'org.apache.kafka.connect.converters.ByteArrayConverter' },
  select: 'hex(value)',
  good: [
    { value: bytes([0, 255, 1]), row: ['00FF01'] },
    { value: '', row: [''] },
  ],
  bad: [{ value: 'x'.repeat(RECORD_BYTES_MAX + 1), reason: tooLarge }],
}

const AVRO_SCHEMA = {
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields: [
    { name: 'id', type: 'long' },
    { name: 'price', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 }] },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    {
      name: 'to',
      type: {
        type: 'record',
        name: 'Address',
        fields: [
          { name: 'city', type: 'string' },
          { name: 'lines', type: { type: 'array', items: 'string' } },
        ],
      },
    },
    { name: 'rates', type: { type: 'map', values: 'double' } },
  ],
}
const avroType = avro.Type.forSchema(AVRO_SCHEMA as avro.Schema, { wrapUnions: true })
const avroValue = (id: number) =>
  avroType.toBuffer({
    id,
    price: { bytes: PRICE },
    at: TIME + 500,
    to: { city: `c${id}`, lines: ['a', 'b'] },
    rates: { EUR: 1.5 },
  })
/** What is behind the frame, or without one the whole. */
const avroBad: readonly Bad[] = [
  { value: avroValue(1).subarray(0, 10), reason: /./ },
  { value: Buffer.concat([avroValue(1), Buffer.from([0])]), reason: /left over|beyond|more bytes|byte/ },
  { value: bytes([2, 8]), reason: /branch/ },
  { value: bytes([2, 0, 0, 1]), reason: /length/ },
  { value: bytes([2, 0, 0, 2, 0xff, 0, 0]), reason: /UTF-8/ },
  { value: bytes([2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x0f]), reason: /items|length|bytes/ },
  { value: bytes(Array<number>(12).fill(0xff)), reason: /byte/ },
]

const PROTO = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Ignored { string a = 1; }
message Order {
  int64 id = 1;
  string price = 2;
  google.protobuf.Timestamp at = 3;
  message Address {
    string city = 1;
    repeated string lines = 2;
  }
  Address to = 4;
  map<string, double> rates = 5;
}
`
const protoRoot = protobuf.parse(PROTO, { keepCase: true }).root
protoRoot.addJSON(protobuf.common.get('google/protobuf/timestamp.proto')!.nested!)
const protoType = protoRoot.resolveAll().lookupType('shop.Order')
const protoValue = (id: number) =>
  protoType
    .encode({
      id,
      price: '12.34',
      at: { seconds: TIME / 1000, nanos: 500_000_000 },
      to: { city: `c${id}`, lines: ['a', 'b'] },
      rates: { EUR: 1.5 },
    })
    .finish()
const protoBad: readonly Bad[] = [
  { value: Buffer.from(protoValue(1)).subarray(0, 12), reason: /./ },
  { value: bytes([0x09, 1, 2, 3, 4, 5, 6, 7, 8]), reason: /wire type/ },
  { value: bytes([0x12, 2, 0xff, 0xfe]), reason: /UTF-8/ },
  { value: bytes([0x22, 0x7f]), reason: /beyond|length|bytes/ },
  { value: bytes([0x08], Array<number>(11).fill(0xff)), reason: /64 bits|varint/ },
  { value: bytes([0x33]), reason: /group|end/ },
]

const JSON_SCHEMA = JSON.stringify({
  type: 'object',
  properties: {
    id: { type: 'integer', 'connect.type': 'int64' },
    price: {
      type: ['number', 'null'],
      'connect.type': 'bytes',
      title: 'org.apache.kafka.connect.data.Decimal',
      'connect.parameters': { scale: '2' },
    },
    at: { type: 'string', format: 'date-time' },
    to: {
      type: 'object',
      properties: { city: { type: 'string' }, lines: { type: 'array', items: { type: 'string' } } },
    },
    rates: { type: 'object', additionalProperties: { type: 'number' } },
  },
  required: ['id'],
})
const jsonSchemaValue = (id: number) =>
  Buffer.from(
    JSON.stringify({
      id,
      at: '2026-01-31T10:00:00.5Z',
      to: { city: `c${id}`, lines: ['a', 'b'] },
      rates: { EUR: 1.5 },
    }),
  )
const jsonSchemaRow = (id: number) => [id, String(TIME + 500), `c${id}`, ['a', 'b'], 1.5]
const JSON_SCHEMA_SELECT = `id::INTEGER, epoch_ms("at")::VARCHAR, "to".city, "to".lines, rates['EUR']`

const behind = (id: number, bad: readonly Bad[], indexes: readonly number[] = []): readonly Bad[] => [
  ...bad.map((each) => ({ ...each, value: framed(id, Buffer.from(each.value), indexes) })),
  { value: framed(999_999, bytes([0])), reason: /schema id 999999 is not in the schema registry/ },
  { value: '{"id": 1}', reason: /expected magic byte 0 of a registry frame/ },
  { value: bytes([0, 0, 0]), reason: /frame/ },
  { value: '', reason: /frame/ },
  { value: framed(id, Buffer.alloc(RECORD_BYTES_MAX)), reason: tooLarge },
]

async function registryFormats(): Promise<readonly Format[]> {
  const avroId = await registry.register('a-value', { schema: JSON.stringify(AVRO_SCHEMA) })
  const protoId = await registry.register('p-value', { schemaType: 'PROTOBUF', schema: PROTO })
  const jsonId = await registry.register('j-value', { schemaType: 'JSON', schema: JSON_SCHEMA })
  const keyId = await registry.register('a-key', {
    schema: JSON.stringify({ type: 'record', name: 'Key', fields: [{ name: 'tenant', type: 'string' }] }),
  })
  const converter = (side: string, name: string) => ({
    [`${side}.converter`]: `io.confluent.connect.${name}`,
    [`${side}.converter.schema.registry.url`]: registry.url,
  })
  const key = framed(keyId, bytes([2], 't'))
  const given = (format: string, schema: string, more: Readonly<Record<string, string>> = {}) => ({
    'millrace.value.format': format,
    'millrace.value.schema': schema,
    ...more,
  })
  return [
    {
      name: 'avro_registry',
      config: {
        ...converter('value', 'avro.AvroConverter'),
        ...converter('key', 'avro.AvroConverter'),
        'millrace.key.prefix': 'key_',
      },
      select: `${SELECT}, key_tenant`,
      good: [1, 2].map((id) => ({ key, value: framed(avroId, avroValue(id)), row: [...rowOf(id), 't'] })),
      bad: [
        ...behind(avroId, avroBad),
        { key: 'no frame', value: framed(avroId, avroValue(3)), reason: /^key: / },
        { key: framed(999_998, bytes([0])), value: framed(avroId, avroValue(3)), reason: /^key: .*999998/ },
      ],
    },
    {
      name: 'avro_given',
      config: given('avro', JSON.stringify(AVRO_SCHEMA)),
      select: SELECT,
      good: [1, 2].map((id) => ({ value: avroValue(id), row: rowOf(id) })),
      bad: [...avroBad, { value: '', reason: /byte/ }, { value: Buffer.alloc(RECORD_BYTES_MAX + 1), reason: tooLarge }],
    },
    {
      name: 'proto_registry',
      config: converter('value', 'protobuf.ProtobufConverter'),
      select: SELECT,
      // The second message of the file.
      good: [1, 2].map((id) => ({ value: framed(protoId, protoValue(id), [2, 2]), row: rowOf(id) })),
      bad: [...behind(protoId, protoBad, [2, 2]), { value: framed(protoId, protoValue(1), [2, 8]), reason: /message/ }],
    },
    {
      name: 'proto_given',
      config: given('protobuf', PROTO, { 'millrace.value.message': 'shop.Order' }),
      select: SELECT,
      good: [
        ...[1, 2].map((id) => ({ value: Buffer.from(protoValue(id)), row: rowOf(id) })),
        { value: '', row: [0, '', null, null, null, null] },
      ],
      bad: [...protoBad, { value: Buffer.alloc(RECORD_BYTES_MAX + 1), reason: tooLarge }],
    },
    {
      name: 'json_schema',
      config: converter('value', 'json.JsonSchemaConverter'),
      select: JSON_SCHEMA_SELECT,
      good: [1, 2].map((id) => ({ value: framed(jsonId, jsonSchemaValue(id)), row: jsonSchemaRow(id) })),
      bad: behind(jsonId, [
        { value: '{"id": 1', reason: /malformed JSON/ },
        { value: '[]', reason: /expected an object/ },
        { value: '{"id": "x"}', reason: /"id"/ },
        { value: '{"to": {}}', reason: /"id".*required/ },
        { value: '{"id": 1, "to": {"city": 5}}', reason: /"to\.city"/ },
        { value: bytes('{"id": 1, "x": "', [0xff], '"}'), reason: /UTF-8/ },
      ]),
    },
    {
      name: 'json_schema_given',
      config: given('json-schema', JSON_SCHEMA),
      select: JSON_SCHEMA_SELECT,
      good: [1, 2].map((id) => ({ value: jsonSchemaValue(id), row: jsonSchemaRow(id) })),
      bad: [
        { value: '{"id": 1', reason: /malformed JSON/ },
        { value: '{"to": {}}', reason: /"id".*required/ },
        { value: '', reason: /empty record/ },
      ],
    },
  ]
}

async function rest(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const reply = await fetch(`${millrace.url('ingest')}${path}`, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const answer = await reply.text()
  return { status: reply.status, body: answer === '' ? undefined : JSON.parse(answer) }
}

async function create(name: string, config: Readonly<Record<string, string>>): Promise<void> {
  const whole = { name, config: { 'connector.class': 'Millrace', ...config } }
  expect(await rest('POST', '/connectors', whole)).toMatchObject({ status: 201 })
}

const trace = (name: string, offset: number) => [['trace', `${name}-${offset}`]] as const

/** Good and bad in turn; gives where each is. */
async function send({ name, good, bad }: Format): Promise<{ rows: number[]; letters: number[] }> {
  await kafka.createTopic(name, 1)
  const places = { rows: [] as number[], letters: [] as number[] }
  const records: { key?: Bytes; value: Bytes | null }[] = []
  for (let index = 0; index < Math.max(good.length, bad.length); index += 1) {
    if (index < good.length) places.rows.push(records.push(good[index]) - 1)
    if (index < bad.length) places.letters.push(records.push(bad[index]) - 1)
    if (index === 0) records.push({ key: 'gone', value: null })
  }
  await producer.send(
    name,
    0,
    records.map(({ key, value }, offset) => ({ key, value, timestamp: TIME + offset, headers: trace(name, offset) })),
  )
  return places
}

async function expectRows({ name, select, good }: Format, offsets: readonly number[]): Promise<void> {
  const { data } = await millrace.sql(
    `SELECT ${select}, h['trace'], epoch_ms(_timestamp)::VARCHAR, _offset::INTEGER FROM ${name} ORDER BY _offset`,
  )
  expect(data).toEqual(
    good.map(({ row }, index) => [...row, `${name}-${offsets[index]}`, String(TIME + offsets[index]), offsets[index]]),
  )
}

async function expectLetters({ name, bad }: Format, offsets: readonly number[]): Promise<void> {
  const { data } = await millrace.sql(`
    SELECT "offset"::INTEGER, reason, hex(raw), hex(raw_key), pipeline FROM ${name}__dead_letters ORDER BY "offset"`)
  expect(data.map(([offset]) => offset)).toEqual(offsets)
  for (const [index, { value, key, reason }] of bad.entries()) {
    const [offset, why, ...kept] = data[index]
    const hex = (part: Bytes) => Buffer.from(part).toString('hex').toUpperCase()
    expect(kept, `${name} at ${offset}: ${why}`).toEqual([hex(value), key === undefined ? null : hex(key), name])
    expect(why, `${name} at ${offset}`).toMatch(reason)
  }
}

test('each format by a connector: rows live and from data files, key columns, headers, every bad kind once with its bytes', async () => {
  const formats = [plainJson, envelope, csv, text, raw, ...(await registryFormats())]
  const placesOf = new Map<string, { rows: number[]; letters: number[] }>()
  for (const format of formats) {
    placesOf.set(format.name, await send(format))
    await create(format.name, { topics: format.name, 'millrace.headers.column': 'h', ...format.config })
  }
  const problems: string[] = []
  for (const phase of ['live', 'data files']) {
    if (phase === 'data files') {
      await millrace.start('compactor')
      for (const { name } of formats) await untilNothingIsLive(name)
    }
    for (const format of formats) {
      const { rows, letters } = placesOf.get(format.name)!
      try {
        if (phase === 'live') {
          await millrace.eventually(`SELECT count(*)::INTEGER FROM ${format.name}`, (n) => Number(n) >= rows.length)
          const dead = `SELECT count(*)::INTEGER FROM ${format.name}__dead_letters`
          await millrace.eventually(dead, (n) => Number(n) >= letters.length)
        }
        await expectRows(format, rows)
        await expectLetters(format, letters)
      } catch (error) {
        problems.push(`${phase}: ${format.name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
  expect(problems.join('\n\n')).toBe('')
  expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
})

test('a chain of transforms with a predicate over topics of a pattern; what they refuse goes to the dead letters and their topic', async () => {
  for (const topic of ['shop-eu', 'shop-us']) await kafka.createTopic(topic, 1)
  await kafka.createTopic('shop_dead', 1)
  const transforms = 'org.apache.kafka.connect.transforms'
  await create('shops', {
    'topics.regex': '(?i)SHOP-\\p{Lower}+',
    transforms: 'mask,cast,where,drop',
    'transforms.mask.type': `${transforms}.MaskField$Value`,
    'transforms.mask.fields': 'card',
    'transforms.mask.replacement': '***',
    'transforms.mask.predicate': 'european',
    'transforms.cast.type': `${transforms}.Cast$Value`,
    'transforms.cast.spec': 'n:int32',
    'transforms.where.type': `${transforms}.InsertField$Value`,
    'transforms.where.topic.field': 'shop',
    'transforms.drop.type': `${transforms}.Filter`,
    'transforms.drop.predicate': 'marked',
    predicates: 'european,marked',
    'predicates.european.type': `${transforms}.predicates.TopicNameMatches`,
    'predicates.european.pattern': '.*-eu',
    'predicates.marked.type': `${transforms}.predicates.HasHeaderKey`,
    'predicates.marked.name': 'test',
    'millrace.table': 'shops',
    'errors.deadletterqueue.topic.name': 'shop_dead',
    'errors.deadletterqueue.topic.replication.factor': '1',
  })
  const record = (n: string) => ({ value: `{"id": 1, "card": "4711", "n": ${n}}` })
  for (const topic of ['shop-eu', 'shop-us']) {
    await producer.send(topic, 0, [record('"7"'), record('"seven"'), { ...record('1'), headers: [['test', '1']] }])
  }
  await millrace.eventually('SELECT count(*)::INTEGER FROM shops', (rows) => Number(rows) >= 2)
  const { data } = await millrace.sql('SELECT shop, card, n::INTEGER, _offset::INTEGER FROM shops ORDER BY shop')
  expect(data).toEqual([
    ['shop-eu', '***', 7, 0],
    ['shop-us', '4711', 7, 0],
  ])
  await millrace.eventually('SELECT count(*)::INTEGER FROM shops__dead_letters', (rows) => Number(rows) >= 2)
  const letters = await millrace.sql('SELECT topic, raw, kind FROM shops__dead_letters ORDER BY topic')
  const raw = Buffer.from(record('"seven"').value).toString('base64')
  expect(letters.data).toEqual(['shop-eu', 'shop-us'].map((topic) => [topic, raw, 'transform']))
  const deadline = AbortSignal.timeout(30_000)
  while ((await kafka.logEnd('shop_dead', 0)) < 2 && !deadline.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(await kafka.logEnd('shop_dead', 0)).toBe(2)
})

async function untilNothingIsLive(table: string): Promise<void> {
  for (const name of [table, `${table}__dead_letters`]) {
    const deadline = AbortSignal.timeout(120_000)
    for (;;) {
      const reply = await fetch(`${millrace.url('query')}/v1/tables/${name}`)
      const { segments_live: live } = (await reply.json()) as { segments_live?: number }
      if (live === 0) break
      if (deadline.aborted) throw new Error(`${name}: ${live} segments are still live`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}
