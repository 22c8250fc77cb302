/**
 * What a connector's validation says of `transforms…` and `predicates…` properties, against Kafka Connect's own: definitions of
 * all settings (but for our own words of documentation), values, recommended values, and errors, valid and invalid per setting.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type ConfigInfo, checkTransforms } from '../../ingest/connect/transforms/check-transforms.ts'
import { PREDICATES, TRANSFORMS } from '../../ingest/connect/transforms/plugins.ts'
import { askConnect } from '../harness/connect-runtime.ts'

const PROGRAM = join(import.meta.dirname, 'ConnectOracle.java')
const PACKAGE = 'org.apache.kafka.connect.transforms.'
const CONNECTOR = { 'connector.class': 'org.apache.kafka.connect.tools.VerifiableSinkConnector' }

type Properties = Record<string, string>

/** Texts that are tried for every setting, besides none. */
const TEXTS = [
  '',
  ' ',
  'a',
  'a,b',
  'a,,b',
  'a,a',
  ' a , b ',
  ',',
  'true',
  ' False ',
  'yes',
  '7',
  ' -7 ',
  '1.5',
  '99999999999',
  'V1',
  'v2',
  'V3',
]
const TRIED: Readonly<Record<string, readonly string[]>> = {
  spec: ['int8', 'a:int8', 'a:INT8, b: string', 'a:int9', 'bytes', 'a:bytes', 'int8,a:int8', 'a:b:c', 'a:', ':int8'],
  renames: ['a:b', 'a:b,c:d', 'a', 'a:', ':b', 'a:b:c', 'a:b:'],
  'target.type': ['string', 'unix', 'Date', 'Time', 'Timestamp', 'date'],
  'unix.precision': ['seconds', 'nanoseconds', 'Seconds'],
  operation: ['move', 'copy', 'MOVE'],
  regex: ['(', 'a(b)', '[a', '*'],
  pattern: ['(', 'a(b)', '[a', '*'],
}

function questions(): Properties[] {
  const asked: Properties[] = []
  for (const { className, settings } of TRANSFORMS) {
    const base = { ...CONNECTOR, transforms: 't', 'transforms.t.type': className }
    asked.push(base)
    for (const { name } of settings) {
      for (const text of [...TEXTS, ...(TRIED[name] ?? [])]) asked.push({ ...base, [`transforms.t.${name}`]: text })
    }
  }
  for (const { className, settings } of PREDICATES) {
    const base = { ...CONNECTOR, predicates: 'p', 'predicates.p.type': className }
    asked.push(base)
    for (const { name } of settings) {
      for (const text of [...TEXTS, ...(TRIED[name] ?? [])]) asked.push({ ...base, [`predicates.p.${name}`]: text })
    }
  }
  const filter = { ...CONNECTOR, transforms: 't', 'transforms.t.type': `${PACKAGE}Filter` }
  const tombstones = { predicates: 'p', 'predicates.p.type': `${PACKAGE}predicates.RecordIsTombstone` }
  return [
    ...asked,
    { ...filter, 'transforms.t.negate': 'true' },
    { ...filter, 'transforms.t.negate': 'no', 'transforms.t.predicate': 'p' },
    { ...filter, ...tombstones, 'transforms.t.negate': ' true', 'transforms.t.predicate': 'p' },
    { ...filter, 'transforms.t.predicate': 'missing' },
    {
      ...filter,
      ...tombstones,
      transforms: ' t , u',
      'transforms.u.type': `${PACKAGE}InsertField$Value`,
      'transforms.u.topic.field': 'x',
    },
    { ...CONNECTOR, transforms: 't' },
    { ...CONNECTOR, transforms: 't', 'transforms.t.type': 'com.example.Missing' },
    { ...CONNECTOR, transforms: 't', 'transforms.t.type': `${PACKAGE}predicates.RecordIsTombstone` },
    { ...CONNECTOR, transforms: 't', 'transforms.t.type': 'ValueToKey' },
    { ...CONNECTOR, transforms: 't', 'transforms.t.type': 'InsertField$Key' },
    { ...CONNECTOR, transforms: '' },
    CONNECTOR,
  ]
}

test('settings of transforms are validated as Kafka Connect validates them', async () => {
  const asked = questions()
  const answers = (await askConnect(
    PROGRAM,
    asked.map((validate) => ({ validate })),
  )) as readonly { readonly configs: readonly ConfigInfo[]; readonly failure?: string }[]
  const differences: unknown[] = []
  let errors = 0
  asked.forEach((properties, i) => {
    const { configs } = checkTransforms(properties)
    errors += configs.filter(({ value }) => value.errors.length > 0).length
    const [ours, theirs] = [configs, answers[i].configs].map((infos) => infos.map(comparable).sort(byName))
    if (JSON.stringify(ours) !== JSON.stringify(theirs))
      differences.push({ properties, ours: unlike(ours, theirs), theirs: unlike(theirs, ours) })
  })
  console.log(`${asked.length} configurations, ${errors} settings with errors`)
  expect(differences.length, JSON.stringify(differences.slice(0, 6), null, 1)).toBe(0)
  expect(errors).toBeGreaterThan(100)
})

/** Documentation and some errors are in our own words: how many errors there are is what counts. */
function comparable({ definition, value }: ConfigInfo): ConfigInfo {
  const { errors } = value
  return {
    definition: {
      name: definition.name,
      type: definition.type,
      required: definition.required,
      default_value: definition.default_value,
      importance: definition.importance,
      documentation: '',
      group: definition.group,
      width: definition.width,
      display_name: definition.display_name,
      dependents: definition.dependents,
      order_in_group: definition.order_in_group,
    },
    value: {
      name: value.name,
      value: value.value,
      recommended_values: value.recommended_values,
      errors: errors.map((text) => (GENERAL.test(text) ? text : 'in words')),
      visible: value.visible,
    },
  }
}

/** Errors that programs look for. */
const GENERAL = /^Missing required|Expected value to be|Not a number of type|could not be found|String must be one of: /

function byName(a: ConfigInfo, b: ConfigInfo): number {
  return a.value.name < b.value.name ? -1 : 1
}

function unlike(infos: readonly ConfigInfo[], others: readonly ConfigInfo[]): readonly ConfigInfo[] {
  const known = new Set(others.map((each) => JSON.stringify(each)))
  return infos.filter((each) => !known.has(JSON.stringify(each)))
}
