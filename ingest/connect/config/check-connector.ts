/**
 * A connector's configuration, as Kafka Connect's sinks have it, to a plan of ours:
 *
 *   1. each property against its definition        2. what belongs together
 *   3. secrets: references only                    4. what nobody knows: warnings
 *
 * Pure, and the same for `validate`, for what is created or changed, and for what starts: whatever is wrong is told at once,
 * each under its property. Secrets are not read here.
 */

import { javaRegex } from '../java/regex.ts'
import {
  type ConfigFinding,
  type ConfigProperties,
  type ConfigValue,
  isTrue,
  listOf,
  textProblem,
} from './config-value.ts'
import type { ConnectorConfig, ConverterConfig, ErrorsConfig } from './connector-config.ts'
import { readConsumer } from './consumer-overrides.ts'
import { checkHeaderConverter, readConverter } from './converters.ts'
import { CONNECTOR_CLASS, DEFINITIONS } from './definitions.ts'
import { createFindings, type Findings } from './findings.ts'
import { checkReferences, shownValue } from './secret-references.ts'
import { readTable } from './table-properties.ts'
import { type CheckedTransforms, type CheckTransforms, noteTransforms } from './transforms.ts'

export type CheckedConnector = {
  /** undefined: there are errors. */
  readonly config: ConnectorConfig | undefined
  readonly values: readonly ConfigValue[]
  /** Definitions and values of transforms and predicates, which come with their own. */
  readonly transforms: CheckedTransforms
  /** In the order in which they were found. */
  readonly errors: readonly ConfigFinding[]
  /** `name: why`, for properties that have no effect. */
  readonly warnings: readonly string[]
}

const ALIASES = new Set(['Millrace', 'MillraceSink', 'MillraceSinkConnector', CONNECTOR_CLASS])
const NAME_LENGTH_MAX = 200
const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/
const TOPICS_MAX = 1000
/** Read by their own definitions' rules above; the rest of the definitions are read by the parts. */
const BY_DEFINITION = new Map(DEFINITIONS.map((definition) => [definition.name, definition]))

export function isOurClass(text: string): boolean {
  return ALIASES.has(text.trim())
}

export function checkConnector(properties: ConfigProperties, checkTransforms: CheckTransforms): CheckedConnector {
  const findings = createFindings(properties)
  checkDefinitions(findings, properties)
  for (const { name, message } of checkReferences(properties)) findings.error(name, message)
  const transforms = checkTransforms(properties)
  noteTransforms(findings, transforms)
  const config = readConfig(findings, transforms)
  for (const name of findings.unused()) findings.warn(name, `${name} is not known and has no effect`)
  return {
    config: findings.errors.length === 0 ? config : undefined,
    values: valuesOf(properties, findings, transforms),
    transforms,
    errors: findings.errors,
    warnings: findings.warnings.map(({ message }) => message),
  }
}

function checkDefinitions(findings: Findings, properties: ConfigProperties): void {
  for (const definition of DEFINITIONS) {
    const text = findings.read(definition.name)
    if (text === undefined) {
      if (definition.required && definition.fallback === undefined) {
        const message = `Missing required configuration "${definition.name}" which has no default value.`
        findings.error(definition.name, message)
      }
      continue
    }
    const problem = textProblem(definition, text)
    if (problem !== undefined) findings.invalid(definition.name, problem)
  }
  const { name, 'connector.class': className } = properties
  if (name !== undefined) checkName(findings, name)
  if (className !== undefined && !isOurClass(className)) {
    findings.invalid('connector.class', `expected Millrace, found a class that is not here`)
  }
}

function checkName(findings: Findings, name: string): void {
  if (name.trim() === '') findings.invalid('name', 'String may not be empty')
  else if (/\p{Cc}/u.test(name)) findings.invalid('name', 'String may not contain control sequences')
  else if (name === '.' || name === '..') {
    findings.invalid('name', 'expected a name that can be part of an address, which . and .. cannot')
  } else if (!name.isWellFormed()) findings.invalid('name', 'expected whole Unicode characters, found half of one')
  else if (name !== name.trim()) findings.invalid('name', 'String may not begin or end with white space')
  else if (name.length > NAME_LENGTH_MAX) findings.invalid('name', `at most ${NAME_LENGTH_MAX} characters`)
  else if (name.startsWith('http:')) findings.invalid('name', 'names that begin with http: are those of HTTP sources')
}

function readConfig(findings: Findings, { plans: transforms }: CheckedTransforms): ConnectorConfig {
  const name = findings.read('name') ?? ''
  const topics = readTopics(findings)
  const table = readTable(findings, topics.kind === 'list' ? topics.names : undefined)
  const keyIsRead = table.keyPrefix !== undefined || transforms.some(({ type }) => /Key$|HeaderFrom/.test(type))
  const key = readConverter(findings, 'key')
  const value = readConverter(findings, 'value')
  if (keyIsRead) checkOneRegistry(findings, key, value)
  checkHeaderConverter(findings)
  return {
    name,
    topics,
    tasksMax: readNumber(findings, 'tasks.max') ?? 1,
    key: keyIsRead ? key : undefined,
    value,
    transforms,
    errors: readErrors(findings, topics),
    consumer: readConsumer(findings, name),
    table,
    flushIntervalMs: readNumber(findings, 'millrace.flush.interval.ms'),
    rate: {
      rowsMax: readNumber(findings, 'millrace.rate.rows.max'),
      bytesMax: readNumber(findings, 'millrace.rate.bytes.max'),
    },
  }
}

/** Schemas are known by their ids, and two registries give the same ids to different ones. */
function checkOneRegistry(findings: Findings, key: ConverterConfig, value: ConverterConfig): void {
  const urlOf = ({ registry }: ConverterConfig) => registry && listOf(registry['schema.registry.url'] ?? '').join()
  const [keyUrl, valueUrl] = [urlOf(key), urlOf(value)]
  if (keyUrl === undefined || valueUrl === undefined || keyUrl === valueUrl) return
  const name = 'key.converter.schema.registry.url'
  findings.error(
    name,
    'expected the same registry as value.converter.schema.registry.url: schema ids are only unique in one',
  )
}

function readTopics(findings: Findings): ConnectorConfig['topics'] {
  const names = listOf(findings.read('topics') ?? '')
  const pattern = (findings.read('topics.regex') ?? '').trim()
  const both = (message: string) => {
    findings.error('topics', message)
    findings.error('topics.regex', message)
  }
  if (names.length === 0 && pattern === '') both('Must configure one of topics or topics.regex')
  if (names.length > 0 && pattern !== '') {
    both('topics and topics.regex are mutually exclusive options, but both are set.')
  }
  if (names.length > TOPICS_MAX) findings.invalid('topics', `at most ${TOPICS_MAX} topics`)
  if (names.some((topic) => !TOPIC_NAME.test(topic) || topic === '.' || topic === '..')) {
    findings.invalid('topics', 'expected names of topics: letters, digits, ".", "_" and "-"')
  }
  if (new Set(names).size < names.length) findings.invalid('topics', 'expected each topic once')
  if (pattern === '') return { kind: 'list', names }
  try {
    topicPattern(pattern)
  } catch (error) {
    findings.invalid('topics.regex', `Invalid regex: ${(error as Error).message}`)
  }
  return { kind: 'pattern', pattern }
}

/** Whole names match, as with `java.util.regex.Pattern` in Connect. */
export function topicPattern(pattern: string): { test(topic: string): boolean } {
  const { matches } = javaRegex(pattern)
  return { test: matches }
}

function readErrors(findings: Findings, topics: ConnectorConfig['topics']): ErrorsConfig {
  const name = findings.read('errors.deadletterqueue.topic.name')?.trim() ?? ''
  if (name !== '' && !TOPIC_NAME.test(name)) {
    findings.invalid('errors.deadletterqueue.topic.name', 'expected the name of a topic')
  } else if (name !== '' && topics.kind === 'list' && topics.names.includes(name)) {
    findings.error(
      'errors.deadletterqueue.topic.name',
      `The DLQ topic '${name}' may not be included in the list of topics ('topics=[${topics.names.join(', ')}]') consumed by the connector`,
    )
  } else if (name !== '' && topics.kind === 'pattern' && matchesPattern(topics.pattern, name)) {
    findings.error(
      'errors.deadletterqueue.topic.name',
      `The DLQ topic '${name}' may not be included in the regex matching the topics ('topics.regex=${topics.pattern}') consumed by the connector`,
    )
  }
  const flag = (property: string) => isTrue(findings.read(property) ?? 'false')
  return {
    tolerance: findings.read('errors.tolerance') === 'none' ? 'none' : 'all',
    deadLetterTopic:
      name === ''
        ? undefined
        : {
            name,
            replicationFactor: readNumber(findings, 'errors.deadletterqueue.topic.replication.factor') ?? 3,
            contextHeaders: flag('errors.deadletterqueue.context.headers.enable'),
          },
    log: flag('errors.log.enable'),
    logMessages: flag('errors.log.include.messages'),
    retryTimeoutMs: readNumber(findings, 'errors.retry.timeout') ?? 0,
    retryDelayMaxMs: readNumber(findings, 'errors.retry.delay.max.ms') ?? 60_000,
  }
}

function matchesPattern(pattern: string, topic: string): boolean {
  try {
    return topicPattern(pattern).test(topic)
  } catch {
    return false
  }
}

/** Of a sound text; others were told already. */
function readNumber(findings: Findings, name: string): number | undefined {
  const text = findings.read(name)
  const definition = BY_DEFINITION.get(name)
  if (text === undefined || definition === undefined || textProblem(definition, text) !== undefined) return undefined
  return Number(text)
}

/** Every definition, then whatever else has an error or was given. */
function valuesOf(
  properties: ConfigProperties,
  findings: Findings,
  transforms: CheckedTransforms,
): readonly ConfigValue[] {
  const errors = Map.groupBy(findings.errors, ({ name }) => name)
  const messages = (name: string) => (errors.get(name) ?? []).map(({ message }) => message)
  const unknown = new Set(findings.warnings.map(({ name }) => name))
  const others = new Set([...Object.keys(properties), ...errors.keys()])
  for (const { name } of DEFINITIONS) others.delete(name)
  for (const { value } of transforms.configs) others.delete(value.name)
  return [
    ...DEFINITIONS.map((definition) => ({
      definition,
      value: shown(properties, definition.name) ?? definition.fallback ?? null,
      errors: messages(definition.name),
    })),
    // As with Kafka Connect, what is merely unknown is not among them.
    ...[...others]
      .filter((name) => !unknown.has(name) || errors.has(name))
      .map(
        (name): ConfigValue => ({
          definition: {
            name,
            type: 'STRING',
            importance: 'MEDIUM',
            documentation: '',
            group: groupOf(name),
            displayName: name,
          },
          value: shown(properties, name) ?? null,
          errors: messages(name),
        }),
      ),
  ]
}

function shown(properties: ConfigProperties, name: string): string | undefined {
  return Object.hasOwn(properties, name) ? shownValue(name, properties[name]) : undefined
}

function groupOf(name: string): string {
  if (name.startsWith('consumer.override.')) return 'Consumer'
  return name.startsWith('millrace.') ? 'Millrace' : 'Common'
}
