/** Settings of every transform, by chance and by hand, and records to try them on. */

import type { ConnectRecord } from '../../ingest/connect/data/record.ts'
import { INT64_SCHEMA, STRING_SCHEMA } from '../../ingest/connect/data/schema.ts'
import type { TransformPlan } from '../../ingest/decoder/decode-plan.ts'
import { FIELD_NAMES, type Random, randomRecord, TEXTS, TOPICS } from './random-data.ts'

export type Case = { readonly plans: readonly TransformPlan[]; readonly records: readonly ConnectRecord[] }

const PACKAGE = 'org.apache.kafka.connect.transforms.'
type Texts = Record<string, string>

export function plan(type: string, settings: Texts, predicate?: TransformPlan['predicate']): TransformPlan {
  return { name: 't', type: PACKAGE + type, settings, ...(predicate ? { predicate } : {}) }
}

const CAST_TYPES = ['int8', 'int16', 'int32', 'int64', 'float32', 'float64', 'boolean', 'string', 'STRING']
const NAMES = FIELD_NAMES.filter((name) => name !== '')
export const FORMATS = [
  'yyyy-MM-dd',
  "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
  "yyyy-MM-dd'T'HH:mm:ss'Z'",
  'yyyyMMddHHmmss',
  'yyMMdd',
  'd/M/yy h:mm a',
  'EEE, dd MMM yyyy HH:mm:ss Z',
  'EEEE d MMMM y G',
  'D yyyy',
  "yyyy-'W'ww-u",
  'YYYY-MM-dd',
  'W F MMM yyyy',
  'HH:mm',
  'K:mm a k',
  "hh 'o''clock' a",
  'yyyy.MM.dd G X',
  'HHmmssSSS XX',
  'yyyy-MM-dd HH:mm:ss z',
  'y L',
  'SSSSSS',
  'E u',
  'yyyyy MM',
  "''yy''",
] as const

const none = (): Texts => ({})

function names(random: Random, most = 3): string {
  const picked = new Set(Array.from({ length: 1 + random.int(most) }, () => random.pick(NAMES)))
  return [...picked].join(random.pick([',', ', ', ' , ']))
}

function maybe(random: Random, part: number, settings: () => Texts): Texts {
  return random.chance(part) ? settings() : none()
}

const keepNulls = (random: Random) =>
  maybe(random, 0.4, () => ({ 'replace.null.with.default': random.pick(['false', 'true', ' FALSE ']) }))
const suffix = (random: Random) => random.pick(['', '?', '!'])

const SIDED: Readonly<Record<string, (random: Random) => Texts>> = {
  InsertField: (random) => ({
    ...maybe(random, 0.5, () => ({ 'topic.field': `topic${suffix(random)}` })),
    ...maybe(random, 0.5, () => ({ 'partition.field': `part${suffix(random)}` })),
    ...maybe(random, 0.5, () => ({ 'offset.field': `off${suffix(random)}` })),
    ...maybe(random, 0.5, () => ({ 'timestamp.field': `${random.pick(['ts', 'at', 'when'])}${suffix(random)}` })),
    ...maybe(random, 0.5, () => ({
      'static.field': `${random.pick(['a', 'env'])}${suffix(random)}`,
      'static.value': 'prod',
    })),
    ...keepNulls(random),
  }),
  ReplaceField: (random) => ({
    ...maybe(random, 0.5, () => ({ exclude: names(random) })),
    ...maybe(random, 0.3, () => ({ include: names(random, 5) })),
    ...maybe(random, 0.6, () => ({
      renames: [...new Set([random.pick(NAMES), random.pick(NAMES)])]
        .map((name) => `${name}:${random.pick([...NAMES, 'new', 'other'])}`)
        .join(','),
    })),
    ...keepNulls(random),
  }),
  MaskField: (random) => ({
    fields: names(random),
    ...maybe(random, 0.5, () => ({
      replacement: random.pick(['7', '300', '-1.9', '1e3', '99999999999', 'x', '1e30', ' 5 ', '1e-400', '2.5E+400']),
    })),
    ...keepNulls(random),
  }),
  ExtractField: (random) => ({
    field: random.pick([...NAMES, 'missing', 'nested.a', 'nested.nested.b', '`x.y`', 'nested.`x.y`', 'nested.', 'a.b']),
    ...maybe(random, 0.5, () => ({ 'field.syntax.version': random.pick(['V1', 'V2', 'v2', 'V2']) })),
    ...keepNulls(random),
  }),
  HoistField: (random) => ({ field: random.pick(['wrapped', 'a', '']) }),
  Flatten: (random) => maybe(random, 0.5, () => ({ delimiter: random.pick(['_', '', '::', '.', 'a']) })),
  Cast: (random) => ({
    spec: random.chance(0.3)
      ? random.pick(CAST_TYPES)
      : [...new Set([random.pick(NAMES), random.pick(NAMES), random.pick(NAMES)])]
          .map((name) => `${name}:${random.pick(CAST_TYPES)}`)
          .join(','),
    ...keepNulls(random),
  }),
  TimestampConverter: (random) => ({
    'target.type': random.pick(['string', 'unix', 'Date', 'Time', 'Timestamp']),
    ...maybe(random, 0.7, () => ({ field: random.pick(NAMES) })),
    ...maybe(random, 0.8, () => ({ format: random.pick(FORMATS) })),
    ...maybe(random, 0.5, () => ({
      'unix.precision': random.pick(['seconds', 'milliseconds', 'microseconds', 'nanoseconds']),
    })),
    ...keepNulls(random),
  }),
  HeaderFrom: (random) => {
    const fields = names(random)
    return {
      fields,
      headers: fields
        .split(',')
        .map((_, i) => `h${i % 2}`)
        .join(','),
      operation: random.pick(['move', 'copy']),
      ...keepNulls(random),
    }
  },
  SetSchemaMetadata: (random) => ({
    ...maybe(random, 0.7, () => ({ 'schema.name': 'com.example.Other' })),
    ...maybe(random, 0.6, () => ({ 'schema.version': random.pick(['2', ' 7 ', '-1']) })),
    ...keepNulls(random),
  }),
}

export const LITERALS = [
  ...TEXTS.filter((text) => text !== ''),
  'null',
  ' null ',
  '[]',
  '{}',
  '[1,2,3]',
  '[1, 300, 100000]',
  '[1,1.5]',
  '[1,"a"]',
  '[1,null]',
  '[null,null]',
  '["2024-02-29","2024-03-01"]',
  '[1,2',
  '[1 2]',
  '[,]',
  '[1,]',
  '{"a":1,"b":2}',
  '{"a":1,"b":null}',
  '{"a":1,"b":"x"}',
  '{1:2,300:4}',
  '{"a":[1,2],"b":[3]}',
  '{a:1}',
  '{"a"}',
  '{"a":1,}',
  '[true,false]',
  'true}',
  '12:34',
  '12:34:56.789Z',
  '2024-02-29T12:34:56.789Z',
  '2024-02-29T12\\:34\\:56.789Z',
  '1,2',
  '"quoted"',
  '["quo\\"ted"]',
  '  7  ',
  '1e19',
  '-1e19',
  '10000000000000000000000',
  '0.001',
  '1e-50',
  '1e-400',
  '1e50',
  '1.0',
  '100.0',
  '1e2',
  '+7',
  '-',
  '+',
  '[1,2]x',
  '9223372036854775808',
  '3.5e38',
  '2024-13-45',
] as const

export const REGEXES = [
  ['(.*)', '$1-x'],
  ['orders.*', 'all'],
  ['([a-z]+)[-.](.+)', '$2_$1'],
  ['a|ab', 'z'],
  ['(?<name>\\w+)\\.(\\w+)\\.(?<rest>.*)', '$'.concat('{rest}.$', '{name}')],
  ['.*+', 'x'],
  ['(?i)a_b', 'n'],
  ['(?i:A)_?[bB]?', 'n$0'],
  ['topic-(\\d++)-(\\d+)', '$2$1'],
  ['[a-z&&[^b-z]]', '\\$1'],
  ['[\\w.-]+', 'x\\\\y'],
  ['(?>a|ab)', 'q'],
  ['(?>ab|a)', 'q'],
  ['\\Qx.y.z\\E', '$0$0'],
  ['\\p{Lower}+', 'low'],
  ['\\p{Alpha}(?=b)b', 'la'],
  ['[^\\d]*\\d{2}-\\d{1,3}', '$1'],
  ['(o)(r)(d)(e)(r)(s)', '$6$5$12'],
  ['(a)?b?', '[$1]'],
  ['db\\.(?!private)[a-z.]+', 'ok'],
  ['([a-z.]+?)\\.?([a-z]*)', '$2'],
  ['a', '$'],
  ['a', '$'.concat('{x}')],
  ['[[a-c][x-z]][b.]?.*', 'u'],
  ['x\\.y\\x2ez', 'h'],
  ['\\Aorders\\z', 'o'],
  ['(\\w)\\1?.*', '$1'],
  ['[]a]', 'br'],
  ['[a\\-b]+', 'd'],
  ['a{1,2}b', 'q'],
  ['(?s).*(?-s)', 's'],
  ['((a)(b))|x(?i)(Y)?.*', '$1$4'],
] as const

/** `rounds` sets of settings for each transform, some records on each. */
export function randomCases(random: Random, rounds: number, recordsEach: number): readonly Case[] {
  const cases: Case[] = []
  const records = () => Array.from({ length: recordsEach }, () => randomRecord(random))
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, settings] of Object.entries(SIDED)) {
      const type = `${name}$${random.chance(0.25) ? 'Key' : 'Value'}`
      cases.push({ plans: [plan(type, settings(random))], records: records() })
    }
    cases.push({ plans: [plan('ValueToKey', { fields: names(random), ...keepNulls(random) })], records: records() })
    cases.push({
      plans: [plan('DropHeaders', { headers: random.pick(['h', 'h,trace', 'none', 'a']) })],
      records: records(),
    })
    cases.push({ plans: [plan('Filter', {}, predicate(random))], records: records() })
    cases.push({
      plans: [plan('InsertHeader', { header: 'h', 'value.literal': random.pick(LITERALS) }, predicate(random))],
      records: records(),
    })
    cases.push({ plans: chain(random), records: records() })
  }
  return cases
}

function predicate(random: Random): NonNullable<TransformPlan['predicate']> {
  const type = `${PACKAGE}predicates.`
  const negate = random.chance(0.5)
  switch (random.int(3)) {
    case 0:
      return { type: `${type}RecordIsTombstone`, settings: {}, negate }
    case 1:
      return { type: `${type}HasHeaderKey`, settings: { name: random.pick(['h', 'trace', 'none']) }, negate }
    default:
      return {
        type: `${type}TopicNameMatches`,
        settings: { pattern: random.pick(['orders.*', 'a|ab', '[^.]+']) },
        negate,
      }
  }
}

/** Several in a row, as people have them: what one makes is what the next one gets. */
function chain(random: Random): readonly TransformPlan[] {
  const own = Object.keys(SIDED).filter((name) => name !== 'SetSchemaMetadata')
  return Array.from({ length: 2 + random.int(3) }, () => {
    const name = random.pick(own)
    const settings = SIDED[name](random)
    // Which of two fields under one name stays depends on the Java map that the transform before made.
    if (settings.renames !== undefined) settings.renames = `${random.pick(NAMES)}:new`
    return plan(`${name}$Value`, settings, random.chance(0.2) ? predicate(random) : undefined)
  })
}

export function handPicked(random: Random): readonly Case[] {
  const plain = (value: Partial<ConnectRecord>): ConnectRecord => ({
    topic: 'orders',
    partition: 1,
    keySchema: undefined,
    key: null,
    valueSchema: STRING_SCHEMA,
    value: 'x',
    timestamp: 1_700_000_000_000,
    headers: [],
    offset: 5n,
    ...value,
  })
  const cases: Case[] = []
  const record = plain({})
  for (const literal of LITERALS)
    cases.push({ plans: [plan('InsertHeader', { header: 'h', 'value.literal': literal })], records: [record] })
  for (const [regex, replacement] of REGEXES) {
    cases.push({
      plans: [plan('RegexRouter', { regex, replacement })],
      records: TOPICS.map((topic) => plain({ topic })),
    })
    const when = {
      type: `${PACKAGE}predicates.TopicNameMatches`,
      settings: { pattern: regex },
      negate: random.chance(0.5),
    }
    cases.push({ plans: [plan('Filter', {}, when)], records: TOPICS.map((topic) => plain({ topic })) })
  }
  for (let i = 0; i < 150; i += 1) {
    const settings = { regex: randomRegex(random, 2), replacement: random.pick(['x', '$0-$0']) }
    cases.push({ plans: [plan('RegexRouter', settings)], records: TOPICS.map((topic) => plain({ topic })) })
  }
  for (const format of FORMATS) {
    const times = Array.from({ length: 40 }, () => randomRecord(random).timestamp)
    cases.push({
      plans: [
        plan('TimestampRouter', {
          'timestamp.format': format,
          'topic.format': '$'.concat('{topic}/$', '{timestamp}$1'),
        }),
      ],
      records: times.map((timestamp) => plain({ timestamp })),
    })
    const made = times.map((timestamp) => plain({ valueSchema: undefined, value: BigInt(timestamp ?? 0) }))
    cases.push({ plans: [plan('TimestampConverter$Value', { 'target.type': 'string', format })], records: made })
    // What the format makes, read again; and texts of other formats, which it refuses or takes for what they are not.
    const there: Texts = { 'target.type': 'string', format }
    cases.push({
      plans: [
        plan('TimestampConverter$Value', there),
        plan('TimestampConverter$Value', { ...there, 'target.type': 'Timestamp' }),
      ],
      records: made,
    })
    cases.push({
      plans: [plan('TimestampConverter$Value', { 'target.type': 'unix', format })],
      records: TIME_TEXTS.map((value) => plain({ value })),
    })
  }
  for (const target of ['string', 'unix', 'Date', 'Time', 'Timestamp']) {
    for (const precision of ['seconds', 'milliseconds', 'microseconds', 'nanoseconds']) {
      const longs = [
        0n,
        1n,
        -1n,
        999n,
        -999n,
        -1000n,
        1_700_000_000n,
        1_700_000_000_123n,
        -1_234_567_890_123_456n,
        1_700_000_000_123_456_789n,
      ]
      const settings = { 'target.type': target, 'unix.precision': precision, format: FORMATS[1] }
      cases.push({
        plans: [plan('TimestampConverter$Value', settings)],
        records: longs
          .filter((long) => precision === 'nanoseconds' || long < 10n ** 14n)
          .map((value) => plain({ valueSchema: INT64_SCHEMA, value })),
      })
    }
  }
  for (const target of CAST_TYPES) {
    cases.push({ plans: [plan('Cast$Value', { spec: target })], records: TEXTS.map((value) => plain({ value })) })
  }
  return cases
}

const ATOMS = [
  'a',
  'b',
  'o',
  'r',
  '.',
  '\\.',
  '\\w',
  '\\d',
  '\\W',
  '[a-c]',
  '[^a-c]',
  '[a-z&&[^bo]]',
  '[\\w&&[^\\d]]',
  '[._-]',
  '\\p{Lower}',
  '\\P{Alpha}',
  '\\Q.\\E',
  '^',
  '$',
  '\\b',
  '[a[x-z]]',
  '\\x61',
  '-',
] as const
const QUANTIFIERS = [
  '',
  '',
  '',
  '*',
  '+',
  '?',
  '*?',
  '+?',
  '??',
  '*+',
  '++',
  '?+',
  '{1,2}',
  '{2}',
  '{1,}+',
  '{0,3}?',
] as const
const GROUPS = ['(', '(', '(?:', '(?=', '(?!', '(?>', '(?i)', '(?i:', '(?<n>', '(?-i:', '(?s)'] as const

function randomRegex(random: Random, depth: number): string {
  const part = (): string => {
    if (depth === 0 || random.chance(0.6)) {
      const each = random.pick(ATOMS)
      return /^(?:\^|\$|\\b)$/.test(each) ? each : each + random.pick(QUANTIFIERS)
    }
    const opening = random.pick(GROUPS)
    if (opening === '(?i)' || opening === '(?s)') return opening + randomRegex(random, depth - 1)
    const name = opening === '(?<n>' ? `(?<n${random.int(1e6)}>` : opening
    // Not repeated: the languages differ where a repetition matches nothing.
    return `${name}${randomRegex(random, depth - 1)})`
  }
  const sequence = () => Array.from({ length: 1 + random.int(4) }, part).join('')
  return Array.from({ length: random.chance(0.25) ? 2 : 1 }, sequence).join('|')
}

const TIME_TEXTS = [
  '2024-02-29',
  '2024-2-9',
  '2024-13-45',
  '2024-02-30T25:61:61.1001+01:00',
  '0001-01-01',
  '1582-10-10',
  '1582-10-04',
  '1500-02-29',
  '-0044-03-15',
  '20240229123456',
  '202402291',
  '240229',
  '460101',
  '461201',
  '991231',
  '24022',
  '1/2/24 3:04 PM',
  '1/2/46 12:04 am',
  'Thu, 29 Feb 2024 12:34:56 +0130',
  'thu, 29 february 2024 12:34:56 GMT-2:30',
  'Thursday 29 February 2024 AD',
  'Friday 1 May 44 BC',
  '366 2024',
  '60 2023',
  '2024-W09-4',
  '2024-W53-7',
  '2024-W1-9',
  '2 3 Mar 2024',
  '12:34',
  '12:34xyz',
  '11:30 PM 24',
  "03 o'clock PM",
  '2024.02.29 AD Z',
  '2024.02.29 AD -05',
  '123456789 +0530',
  '2024-02-29 12:34:56 UTC',
  '2024-02-29 12:34:56 PST',
  '2024-02-29 12:34:56 GMT+3:00',
  '  2024-02-29',
  '2024- 02-29',
  '2024-02-29 trailing',
  '',
  'x',
  '999999',
  'Thu 4',
  'Mon 9',
  "'24'",
  '12024 05',
  '2024 5',
  '2024-02',
  '99999999999-01-01',
  '2024-99999999999-01',
]
