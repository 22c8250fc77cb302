/**
 * `key.converter` and `value.converter` with their settings, by the class names of Kafka Connect and Confluent, and
 * `millrace.value.format` (or `millrace.key.format`) for what no converter of theirs reads: CSV lines, and Avro and Protobuf
 * with a schema that is given here instead of coming from a registry.
 */
import { MillraceError } from '../../../schemas/errors.ts'
import type { ConverterPlan } from '../../decoder/decode-plan.ts'
import { openSchema, type SchemaConverter } from '../../formats/open-writer.ts'
import { isTrue, listOf } from './config-value.ts'
import type { ConverterConfig } from './connector-config.ts'
import { JSON_CONVERTER } from './definitions.ts'
import type { Findings } from './findings.ts'
import { readTls } from './tls-properties.ts'

export type ConverterSide = 'key' | 'value'

const CONVERTERS = new Map<string, ConverterPlan['format']>(
  Object.entries({
    [JSON_CONVERTER]: 'json',
    'org.apache.kafka.connect.storage.StringConverter': 'string',
    'org.apache.kafka.connect.converters.ByteArrayConverter': 'bytes',
    'io.confluent.connect.avro.AvroConverter': 'avro',
    'io.confluent.connect.protobuf.ProtobufConverter': 'protobuf',
    'io.confluent.connect.json.JsonSchemaConverter': 'json-schema',
  } as const),
)
export const CONVERTER_CLASSES: readonly string[] = [...CONVERTERS.keys()]
const FORMATS = ['json', 'csv', 'avro', 'protobuf', 'json-schema', 'string', 'bytes'] as const
const TAKEN_HEADER_CONVERTERS = [
  'org.apache.kafka.connect.storage.SimpleHeaderConverter',
  'org.apache.kafka.connect.storage.StringConverter',
]

/** Settings that only matter to those who write records: taken without a word. */
const FOR_WRITERS =
  /^(?:auto\.register\.schemas|use\.latest\.version|schemas\.cache\.(?:size|config)|decimal\.format|normalize\.schemas|(?:key|value)\.subject\.name\.strategy|latest\.compatibility\.strict|converter\.type|json\.(?:write|indent)\..*|max\.schemas\.per\.subject|scrub\.invalid\.names|connect\.meta\.data|enhanced\.(?:avro|protobuf)\.schema\.support)$/

export function readConverter(findings: Findings, side: ConverterSide): ConverterConfig {
  const property = `${side}.converter`
  const given = findings.read(property)
  const ownFormat = findings.read(`millrace.${side}.format`)
  const config =
    ownFormat === undefined ? readClass(findings, property, given) : readOwnFormat(findings, side, ownFormat)
  noteUnknown(findings, property)
  return config
}

export function checkHeaderConverter(findings: Findings): void {
  const given = findings.read('header.converter')
  if (given !== undefined && !TAKEN_HEADER_CONVERTERS.includes(given.trim())) {
    findings.invalid('header.converter', `expected one of ${TAKEN_HEADER_CONVERTERS.join(', ')}`)
  }
}

function readClass(findings: Findings, property: string, given: string | undefined): ConverterConfig {
  const className = given?.trim() ?? JSON_CONVERTER
  const format = CONVERTERS.get(className)
  if (format === undefined) {
    findings.invalid(property, `Class ${className} could not be found; known are ${CONVERTER_CLASSES.join(', ')}`)
    return { plan: { format: 'json', envelope: false }, registry: undefined }
  }
  switch (format) {
    case 'json': {
      // As with Kafka Connect: who names the class gets its default, which is true.
      const enable = readFlag(findings, `${property}.schemas.enable`)
      const nullStays = readFlag(findings, `${property}.replace.null.with.default`) === false
      const envelope = enable ?? given !== undefined
      return { plan: { format, envelope, ...(nullStays ? { nullStays } : undefined) }, registry: undefined }
    }
    case 'avro':
    case 'protobuf':
    case 'json-schema':
      return { plan: { format, registry: true }, registry: readRegistry(findings, `${property}.`) }
    case 'string': {
      for (const name of [`${property}.converter.encoding`, `${property}.encoding`]) {
        const encoding = findings.read(name)
        if (encoding !== undefined && !/^utf-?8$/i.test(encoding.trim())) findings.invalid(name, 'expected UTF-8')
      }
      return { plan: { format }, registry: undefined }
    }
    default:
      return { plan: { format: 'bytes' }, registry: undefined }
  }
}

function readFlag(findings: Findings, name: string): boolean | undefined {
  const text = findings.read(name)
  if (text === undefined) return undefined
  if (!/^(?:true|false)$/i.test(text.trim())) findings.invalid(name, 'Expected value to be either true or false')
  return isTrue(text)
}

/** What is wrong is told here; `registry/registry-settings.ts` reads them when a task starts, with their secrets. */
function readRegistry(findings: Findings, prefix: string): ConverterConfig['registry'] {
  const name = `${prefix}schema.registry.url`
  const urls = listOf(findings.read(name) ?? '')
  if (urls.length === 0) {
    findings.error(name, `Missing required configuration "${name}" which has no default value.`)
  }
  for (const url of urls) {
    // Without repeating it: whatever stands behind a ? may be a secret.
    if (!/^https?:\/\/[^\s?#]+$/.test(url)) findings.error(name, `${name}: expected http(s)://host:port[/path]`)
  }
  checkAuth(findings, prefix)
  readTls(findings, `${prefix}schema.registry.`)
  const timeout = `${prefix}schema.registry.request.timeout.ms`
  const timeoutText = findings.read(timeout)
  if (timeoutText !== undefined && !/^[1-9]\d{0,5}$/.test(timeoutText.trim())) {
    findings.invalid(timeout, 'expected milliseconds')
  }
  const settings = findings.names(prefix).map((each) => [each.slice(prefix.length), findings.read(each) ?? ''])
  return Object.fromEntries(settings.filter(([setting]) => IS_REGISTRY.test(setting)))
}

const IS_REGISTRY = /^(?:schema\.registry\.|basic\.auth\.|bearer\.auth\.)/

function checkAuth(findings: Findings, prefix: string): void {
  const find = (name: string) =>
    [`${prefix}${name}`, `${prefix}schema.registry.${name}`].find((each) => findings.read(each))
  const read = (name: string) => findings.read(find(name) ?? `${prefix}${name}`)?.trim()
  const source = read('basic.auth.credentials.source')
  const userInfo = read('basic.auth.user.info')
  const bearer = read('bearer.auth.credentials.source')
  const token = read('bearer.auth.token')
  if (source !== undefined && source !== 'USER_INFO' && source !== 'URL') {
    findings.invalid(`${prefix}basic.auth.credentials.source`, 'String must be one of: URL, USER_INFO')
  }
  if (bearer !== undefined && bearer !== 'STATIC_TOKEN') {
    findings.invalid(`${prefix}bearer.auth.credentials.source`, 'String must be one of: STATIC_TOKEN')
  }
  // Confluent's clients leave a user out without a word when its source is not named.
  if (userInfo !== undefined && source !== 'USER_INFO') {
    findings.error(`${prefix}basic.auth.credentials.source`, 'expected USER_INFO beside basic.auth.user.info')
  }
  if (source === 'USER_INFO' && userInfo === undefined) {
    findings.error(`${prefix}basic.auth.user.info`, 'expected user:password, found nothing')
  }
  if (token !== undefined && bearer !== 'STATIC_TOKEN') {
    findings.error(`${prefix}bearer.auth.credentials.source`, 'expected STATIC_TOKEN beside bearer.auth.token')
  }
  if (userInfo !== undefined && token !== undefined) {
    findings.error(`${prefix}bearer.auth.token`, 'basic.auth.user.info and bearer.auth.token exclude each other')
  }
}

function readOwnFormat(findings: Findings, side: ConverterSide, text: string): ConverterConfig {
  const prefix = `millrace.${side}.`
  const format = FORMATS.find((each) => each === text.trim())
  if (findings.read(`${side}.converter`) !== undefined) {
    findings.error(`${prefix}format`, `${prefix}format and ${side}.converter exclude each other`)
  }
  switch (format) {
    case 'csv':
      return { plan: readCsv(findings, prefix), registry: undefined }
    case 'avro':
    case 'protobuf':
    case 'json-schema':
      return { plan: readGivenSchema(findings, prefix, format), registry: undefined }
    case 'json':
      return { plan: { format, envelope: false }, registry: undefined }
    case 'string':
    case 'bytes':
      return { plan: { format }, registry: undefined }
    default:
      findings.invalid(`${prefix}format`, `String must be one of: ${FORMATS.join(', ')}`)
      return { plan: { format: 'json', envelope: false }, registry: undefined }
  }
}

function readGivenSchema(
  findings: Findings,
  prefix: string,
  format: 'avro' | 'protobuf' | 'json-schema',
): ConverterPlan {
  const schema = findings.read(`${prefix}schema`)
  const message = findings.read(`${prefix}message`)?.trim()
  if (schema === undefined || schema.trim() === '') {
    findings.error(
      `${prefix}schema`,
      `Missing required configuration "${prefix}schema" which has no default value: the schema of the records (or use the converter class with a registry)`,
    )
  } else if (format !== 'protobuf' && !isJson(schema)) {
    findings.error(`${prefix}schema`, `${prefix}schema is not JSON`)
  }
  if (message !== undefined && format !== 'protobuf') {
    findings.error(`${prefix}message`, `${prefix}message goes with protobuf only`)
  }
  const plan: SchemaConverter = { format, registry: false, schema: schema ?? '', ...(message ? { message } : {}) }
  checkSchema(findings, prefix, plan)
  return plan
}

/** A schema that cannot be read is told now: otherwise each record would be a dead letter for it. */
function checkSchema(findings: Findings, prefix: string, plan: SchemaConverter): void {
  if (findings.errors.some(({ name }) => name.startsWith(`${prefix}schema`))) return
  try {
    const { schema = '', message } = plan
    openSchema(plan, { text: schema, references: [], label: 'given', ...(message === undefined ? {} : { message }) })
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error
    const property = error.message.includes('there is no message') ? 'message' : 'schema'
    findings.error(`${prefix}${property}`, `${prefix}${property}: ${error.message}`)
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function readCsv(findings: Findings, prefix: string): ConverterPlan {
  const fieldsName = `${prefix}csv.fields`
  const fields = listOf(findings.read(fieldsName) ?? '')
  if (fields.length === 0) {
    findings.error(fieldsName, `Missing required configuration "${fieldsName}" which has no default value.`)
  }
  if (new Set(fields.map((field) => field.toLowerCase())).size < fields.length) {
    findings.invalid(fieldsName, 'expected names that differ in more than upper and lower case')
  }
  const delimiter = readCharacter(findings, `${prefix}csv.delimiter`, ',')
  const quote = readCharacter(findings, `${prefix}csv.quote`, '"')
  if (delimiter === quote) findings.error(`${prefix}csv.quote`, 'delimiter and quote must differ')
  return { format: 'csv', fields, delimiter, quote, nullText: findings.read(`${prefix}csv.null`) ?? '' }
}

function readCharacter(findings: Findings, name: string, fallback: string): string {
  const text = findings.read(name)?.replace(/^\\t$/, '\t') ?? fallback
  if (!/^[\x20-\x7e\t]$/.test(text)) findings.invalid(name, 'expected one ASCII character, or \\t')
  return text
}

/** Settings of the converter that nobody reads are told, except those that only writers need. */
function noteUnknown(findings: Findings, property: string): void {
  const unused = new Set(findings.unused())
  for (const name of findings.names(`${property}.`)) {
    if (!unused.has(name)) continue
    findings.read(name)
    const setting = name.slice(property.length + 1)
    if (!FOR_WRITERS.test(setting)) findings.warn(name, `${name} is not known and has no effect`)
  }
}
