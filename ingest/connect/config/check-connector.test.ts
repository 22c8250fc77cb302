// What a connector's configuration means, and what is told about one that is wrong: every property in one go, in the words
// of Kafka Connect where it has words for it. No secret is ever repeated.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkConnector, topicPattern } from './check-connector.ts'
import { tableNameOf } from './connector-config.ts'
import { type CheckedTransforms, NO_TRANSFORMS } from './transforms.ts'

const GOOD = { name: 'orders', 'connector.class': 'Millrace', topics: 'orders' }
const PROTO = 'package a; message B { optional int32 b = 1; }'
const none = () => NO_TRANSFORMS
const plan = { name: 'a', type: 'org.apache.kafka.connect.transforms.ExtractField$Key', settings: {} }
const onKeys = (): CheckedTransforms => ({ ...NO_TRANSFORMS, plans: [plan] })

function check(more: Readonly<Record<string, string>> = {}, without: readonly string[] = []) {
  const properties: Record<string, string> = { ...GOOD, ...more }
  for (const name of without) delete properties[name]
  const checked = checkConnector(properties, none)
  const errors = Object.fromEntries(
    checked.values.filter(({ errors: each }) => each.length > 0).map((each) => [each.definition.name, each.errors]),
  )
  return { ...checked, errors, errorCount: checked.errors.length }
}

function configOf(more: Readonly<Record<string, string>> = {}, without: readonly string[] = []) {
  const { config, errors } = check(more, without)
  if (config === undefined) throw new Error(JSON.stringify(errors))
  return config
}

describe('what it means', () => {
  test('of the least that can be said, the rest has defaults', () => {
    expect(configOf()).toEqual({
      name: 'orders',
      topics: { kind: 'list', names: ['orders'] },
      tasksMax: 1,
      key: undefined,
      value: { plan: { format: 'json', envelope: false }, registry: undefined },
      transforms: [],
      errors: {
        tolerance: 'all',
        deadLetterTopic: undefined,
        log: false,
        logMessages: false,
        retryTimeoutMs: 0,
        retryDelayMaxMs: 60_000,
      },
      consumer: expect.objectContaining({ groupId: 'connect-orders', autoOffsetReset: undefined, security: undefined }),
      table: {
        templates: [`\${topic}`],
        columns: undefined,
        partition: [],
        sort: [],
        eventTime: undefined,
        evolution: 'evolve',
        headersColumn: undefined,
        keyPrefix: undefined,
      },
      flushIntervalMs: undefined,
      rate: { rowsMax: undefined, bytesMax: undefined },
    })
  })

  test.each(['Millrace', 'MillraceSink', 'MillraceSinkConnector', 'io.millrace.connect.MillraceSinkConnector'])(
    'connector.class %s is this service',
    (className) => {
      expect(check({ 'connector.class': className }).errorCount).toBe(0)
    },
  )

  test.each([
    [{}, { format: 'json', envelope: false }],
    [{ 'value.converter.schemas.enable': 'true' }, { format: 'json', envelope: true }],
    // Whoever names the class gets the class's own default, as with Kafka Connect.
    [{ 'value.converter': 'org.apache.kafka.connect.json.JsonConverter' }, { format: 'json', envelope: true }],
    [
      {
        'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
        'value.converter.schemas.enable': 'false',
      },
      { format: 'json', envelope: false },
    ],
    [{ 'value.converter': 'org.apache.kafka.connect.storage.StringConverter' }, { format: 'string' }],
    [{ 'value.converter': 'org.apache.kafka.connect.converters.ByteArrayConverter' }, { format: 'bytes' }],
    [
      {
        'value.converter': 'io.confluent.connect.avro.AvroConverter',
        'value.converter.schema.registry.url': 'http://a:1',
      },
      { format: 'avro', registry: true },
    ],
    [
      {
        'value.converter': 'io.confluent.connect.protobuf.ProtobufConverter',
        'value.converter.schema.registry.url': 'http://a:1',
      },
      { format: 'protobuf', registry: true },
    ],
    [
      {
        'value.converter': 'io.confluent.connect.json.JsonSchemaConverter',
        'value.converter.schema.registry.url': 'http://a:1',
      },
      { format: 'json-schema', registry: true },
    ],
    [
      {
        'millrace.value.format': 'csv',
        'millrace.value.csv.fields': 'id, name',
        'millrace.value.csv.delimiter': '\\t',
      },
      { format: 'csv', fields: ['id', 'name'], delimiter: '\t', quote: '"', nullText: '' },
    ],
    [
      {
        'millrace.value.format': 'avro',
        'millrace.value.schema': '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}',
      },
      { format: 'avro', registry: false, schema: '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}' },
    ],
    [
      { 'millrace.value.format': 'protobuf', 'millrace.value.schema': PROTO, 'millrace.value.message': 'a.B' },
      { format: 'protobuf', registry: false, schema: PROTO, message: 'a.B' },
    ],
  ])('value converter of %j', (properties, plan) => {
    expect(configOf(properties as unknown as Record<string, string>).value.plan).toEqual(plan)
  })

  test('a registry with a user by reference and its own authority', () => {
    const { value } = configOf({
      'value.converter': 'io.confluent.connect.avro.AvroConverter',
      'value.converter.schema.registry.url': 'https://a:1, https://b:1',
      'value.converter.basic.auth.credentials.source': 'USER_INFO',
      'value.converter.basic.auth.user.info': `me:\${env:REGISTRY_PASSWORD}`,
      'value.converter.schema.registry.ssl.truststore.type': 'PEM',
      'value.converter.schema.registry.ssl.truststore.location': '/etc/ca.pem',
      'value.converter.auto.register.schemas': 'false',
    })
    expect(value.registry).toEqual({
      'schema.registry.url': 'https://a:1, https://b:1',
      'basic.auth.credentials.source': 'USER_INFO',
      'basic.auth.user.info': `me:\${env:REGISTRY_PASSWORD}`,
      'schema.registry.ssl.truststore.type': 'PEM',
      'schema.registry.ssl.truststore.location': '/etc/ca.pem',
    })
  })

  test('keys are read when something needs them', () => {
    const key = { 'key.converter': 'org.apache.kafka.connect.storage.StringConverter' }
    expect(configOf(key).key).toBeUndefined()
    expect(configOf({ ...key, 'millrace.key.prefix': 'key_' }).key?.plan).toEqual({ format: 'string' })
    expect(checkConnector({ ...GOOD, ...key }, onKeys).config).toMatchObject({
      key: { plan: { format: 'string' } },
      transforms: [plan],
    })
  })

  test('consumer overrides that have a counterpart are honoured', () => {
    const { consumer } = configOf({
      'consumer.override.auto.offset.reset': 'latest',
      'consumer.override.group.id': 'mine',
      'consumer.override.isolation.level': 'read_committed',
      'consumer.override.fetch.max.bytes': '1048576',
      'consumer.override.session.timeout.ms': '12000',
      'consumer.override.bootstrap.servers': 'a:9092,b:9092',
      'consumer.override.security.protocol': 'SASL_SSL',
      'consumer.override.sasl.mechanism': 'SCRAM-SHA-512',
      'consumer.override.sasl.jaas.config': `org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="\${file:/run/s:p}";`,
      'consumer.override.ssl.truststore.type': 'PEM',
      'consumer.override.ssl.truststore.location': '/etc/ca.pem',
    })
    expect(consumer).toMatchObject({
      groupId: 'mine',
      autoOffsetReset: 'latest',
      fetchBytesMax: 1_048_576,
      sessionTimeoutMs: 12_000,
      bootstrap: ['a:9092', 'b:9092'],
      security: {
        protocol: 'sasl_ssl',
        sasl: { mechanism: 'scram-sha-512', username: 'u', password: `\${file:/run/s:p}` },
        tls: { caFile: '/etc/ca.pem' },
      },
    })
  })

  test('tables by template, columns, partitions and sort order as in millrace.yaml', () => {
    const { table } = configOf({
      topics: 'Orders.v2,1st',
      'millrace.table': `raw_\${topic}`,
      'millrace.columns': 'id long required, price decimal(10,2), ts timestamp',
      'millrace.partition': 'day(ts), bucket(16, id)',
      'millrace.sort': 'id desc,ts',
      'millrace.evolution': 'freeze',
    })
    expect(table).toMatchObject({
      columns: [
        { name: 'id', type: { kind: 'long' }, required: true },
        { name: 'price', type: { kind: 'decimal', precision: 10, scale: 2 }, required: false },
        { name: 'ts', type: { kind: 'timestamp' }, required: false },
      ],
      partition: ['day(ts)', 'bucket(16, id)'],
      sort: ['id desc', 'ts'],
      evolution: 'freeze',
    })
    expect(tableNameOf(table.templates[0], 'Orders.v2')).toBe('raw_orders_v2')
    expect(tableNameOf(`\${topic}`, '1st')).toBe('t_1st')
  })
})

test('patterns of topics are Java’s, over whole names', () => {
  expect(check({ 'topics.regex': '(?i)EU-\\p{Alpha}++' }, ['topics']).errorCount).toBe(0)
  const { test: matches } = topicPattern('(?i)EU-\\p{Alpha}++')
  expect(['eu-orders', 'EU-a', 'eu-1', 'x-eu-a', 'eu-a-b'].map(matches)).toEqual([true, true, false, false, false])
})

describe('what is told', () => {
  test.each([
    [{}, ['name'], 'name', 'Missing required configuration "name" which has no default value.'],
    [{}, ['topics'], 'topics', 'Must configure one of topics or topics.regex'],
    [{}, ['topics'], 'topics.regex', 'Must configure one of topics or topics.regex'],
    [
      { 'topics.regex': 'a' },
      [],
      'topics',
      'topics and topics.regex are mutually exclusive options, but both are set.',
    ],
    [{ 'tasks.max': 'x' }, [], 'tasks.max', 'Invalid value x for configuration tasks.max: Not a number of type INT'],
    [{ 'tasks.max': '0' }, [], 'tasks.max', 'Invalid value 0 for configuration tasks.max: Value must be at least 1'],
    [
      { 'errors.tolerance': 'some' },
      [],
      'errors.tolerance',
      'Invalid value some for configuration errors.tolerance: String must be one of: none, all',
    ],
    [
      { 'errors.deadletterqueue.topic.name': 'orders' },
      [],
      'errors.deadletterqueue.topic.name',
      "The DLQ topic 'orders' may not be included in the list of topics ('topics=[orders]') consumed by the connector",
    ],
    [
      { 'consumer.override.max.poll.records': '5' },
      [],
      'consumer.override.max.poll.records',
      'consumer.override.max.poll.records cannot be honoured: records come in batches as they lie in the log; millrace.rate.rows.max bounds how many a second; take it away',
    ],
    [
      { 'consumer.override.no.such': '5' },
      [],
      'consumer.override.no.such',
      'consumer.override.no.such cannot be honoured; take it away',
    ],
    [
      { 'consumer.override.isolation.level': 'read_uncommitted' },
      [],
      'consumer.override.isolation.level',
      'Invalid value read_uncommitted for configuration consumer.override.isolation.level: expected read_committed: aborted records never become rows',
    ],
    [
      { 'millrace.table': 'Orders' },
      [],
      'millrace.table',
      'Invalid value Orders for configuration millrace.table: expected a table name of a-z, 0-9 and _, beginning with a letter',
    ],
    [
      { 'millrace.table': `\${env:TABLE}` },
      [],
      'millrace.table',
      `millrace.table has the reference \${env:TABLE}; references may stand in consumer.override.*, key.converter.* and value.converter.* only`,
    ],
    [
      { 'value.converter': 'io.confluent.connect.avro.AvroConverter' },
      [],
      'value.converter.schema.registry.url',
      'Missing required configuration "value.converter.schema.registry.url" which has no default value.',
    ],
    [
      {
        'value.converter': 'io.confluent.connect.avro.AvroConverter',
        'value.converter.schema.registry.url': 'http://a:1/?token=hidden',
      },
      [],
      'value.converter.schema.registry.url',
      'value.converter.schema.registry.url: expected http(s)://host:port[/path]',
    ],
    [
      {
        'millrace.key.prefix': 'key_',
        'key.converter': 'io.confluent.connect.avro.AvroConverter',
        'key.converter.schema.registry.url': 'http://a:1',
        'value.converter': 'io.confluent.connect.avro.AvroConverter',
        'value.converter.schema.registry.url': 'http://b:1',
      },
      [],
      'key.converter.schema.registry.url',
      'expected the same registry as value.converter.schema.registry.url: schema ids are only unique in one',
    ],
    [{ name: '.' }, [], 'name', 'expected a name that can be part of an address, which . and .. cannot'],
    [{ name: 'a\ud800' }, [], 'name', 'expected whole Unicode characters, found half of one'],
    [
      { 'millrace.columns': 'id long, name string, ID int' },
      [],
      'millrace.columns',
      'expected names that differ in more than upper and lower case, found id twice',
    ],
    [{ 'millrace.columns': 'id long, _Offset int' }, [], 'millrace.columns', '_Offset is the name of a hidden column'],
    [
      { 'millrace.columns': 'id long', 'millrace.partition': 'bucket(16, ts)' },
      [],
      'millrace.partition',
      'expected a column of millrace.columns, found ts',
    ],
    [
      { 'millrace.columns': 'id long', 'millrace.sort': 'ts desc' },
      [],
      'millrace.sort',
      'expected a column of millrace.columns, found ts',
    ],
    [
      { 'millrace.columns': 'h list<string>', 'millrace.headers.column': 'h' },
      [],
      'millrace.headers.column',
      'column h of millrace.columns: expected map<string, string> or map<string, binary>, found list<string>',
    ],
    [
      { 'millrace.headers.column': '_offset' },
      [],
      'millrace.headers.column',
      'expected a name that is not that of a hidden column',
    ],
    [{ 'millrace.key.prefix': '_k' }, [], 'millrace.key.prefix', 'expected a prefix that does not begin with _'],
    [
      { 'millrace.value.format': 'avro', 'millrace.value.schema': '{"type": "nothing"}' },
      [],
      'millrace.value.schema',
      'millrace.value.schema: Avro schema: type "nothing" is not known',
    ],
    [
      { 'millrace.value.format': 'protobuf', 'millrace.value.schema': 'message {' },
      [],
      'millrace.value.schema',
      'millrace.value.schema: Protobuf schema: illegal type name',
    ],
    [
      {
        'millrace.value.format': 'protobuf',
        'millrace.value.schema': 'syntax = "proto3"; message A { int32 a = 1; }',
        'millrace.value.message': 'B',
      },
      [],
      'millrace.value.message',
      'millrace.value.message: Protobuf schema: there is no message "B"',
    ],
  ])('%j without %j', (more, without, name, message) => {
    expect(check(more as unknown as Record<string, string>, without).errors[name]).toContainEqual(
      expect.stringContaining(message),
    )
  })

  test('a regular expression that is none', () => {
    const { errors } = check({ 'topics.regex': '[' }, ['topics'])
    expect(errors['topics.regex']?.[0]).toMatch(/^Invalid value \[ for configuration topics\.regex: Invalid regex: /)
  })

  test('what is wrong with transforms is told with the rest', () => {
    const checked: CheckedTransforms = {
      ...NO_TRANSFORMS,
      configs: [
        {
          definition: { name: 'transforms.a.type' },
          value: { name: 'transforms.a.type', value: null, errors: ['no such class'] },
        },
      ],
      problems: [{ name: 'transforms.a.predicate', message: 'no such predicate' }],
    }
    const { errors, config } = checkConnector({ ...GOOD, transforms: 'a', 'tasks.max': 'x' }, () => checked)
    expect(errors).toHaveLength(3)
    expect(config).toBeUndefined()
  })

  test('what nobody knows is a warning and no error', () => {
    const { errorCount, warnings } = check({ 'no.such.property': '1', 'value.converter.nothing': '1' })
    expect(errorCount).toBe(0)
    expect(warnings).toEqual([
      'value.converter.nothing is not known and has no effect',
      'no.such.property is not known and has no effect',
    ])
  })

  test('names from the object prototype are properties like others', () => {
    expect(check({ constructor: '1', toString: '2' }).warnings).toHaveLength(2)
    expect(check({ 'value.converter': 'constructor' }).errors['value.converter']).toHaveLength(1)
  })

  test('of many things wrong, all are told', () => {
    const { errorCount } = check({ 'tasks.max': 'x', 'errors.tolerance': 'y', 'topics.regex': 'z' })
    expect(errorCount).toBe(4)
  })
})

describe('secrets', () => {
  const SECRETS = [
    'consumer.override.ssl.key.password',
    'consumer.override.ssl.keystore.key',
    'consumer.override.ssl.truststore.password',
    'value.converter.bearer.auth.token',
    'value.converter.basic.auth.user.info',
    'value.converter.schema.registry.basic.auth.user.info',
    'database.password',
    'my.api.key',
    'transforms.a.secret',
  ]

  test.each(SECRETS)('%s is refused when it is there itself, and how to refer is told', (name) => {
    expect(check({ [name]: 'user:hunter2-hunter2' }).errors[name]?.join()).toContain('write a reference instead')
  })

  test.each([
    ['consumer.override.sasl.jaas.config', 'X required username="u" password="hunter2-hunter2";'],
    ['consumer.override.sasl.jaas.config', "X required username=u password='hunter2-hunter2';"],
    ['value.converter.schema.registry.url', 'http://user:hunter2-hunter2@a:1'],
    ['no.such.url', 'ftp://user:hunter2-hunter2@a:1'],
  ])('%s %s is refused', (name, value) => {
    const { errors, values } = check({ [name]: value })
    expect(errors[name]?.join()).toContain('write a reference instead')
    expect(JSON.stringify({ errors, values })).not.toContain('hunter2')
  })

  test.each([
    'consumer.override.sasl.oauthbearer.token.endpoint.url',
    'consumer.override.ssl.keystore.location',
    'value.converter.basic.auth.credentials.source',
    'key.converter',
    'transforms.password.type',
    'millrace.key.prefix',
  ])('%s only sounds like one', (name) => {
    expect(check({ [name]: 'x' }).errors[name]?.join() ?? '').not.toContain('reference')
  })

  test.each([
    [`\${env:MILLRACE_TOKENS}`, 'variables of the service itself'],
    [`\${env:AWS_SECRET_ACCESS_KEY}`, 'variables of the service itself'],
    [`\${vault:a}`, 'is a secret'],
    [`\${file:relative:key}`, 'expected an absolute path'],
    [`\${env:A B}`, 'expected the name of a variable'],
  ])('%s is no reference that may stand here', (value, why) => {
    const name = 'consumer.override.ssl.key.password'
    expect(check({ [name]: value }).errors[name]?.join()).toContain(why)
  })

  // Whatever stands in a property that holds a secret: neither values nor errors nor warnings repeat it.
  test('is never repeated, whatever it is', () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9!#%*+]{12,40}$/)
    fc.assert(
      fc.property(fc.constantFrom(...SECRETS), secret, (name, text) => {
        const { values, warnings, errorCount } = check({ [name]: text })
        expect(errorCount).toBeGreaterThan(0)
        expect(JSON.stringify({ values, warnings })).not.toContain(text)
      }),
    )
  })
})
