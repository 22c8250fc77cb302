/** The transforms and predicates there are, by the class names that Kafka Connect knows them under. */
import { CAST, cast } from './cast.ts'
import { EXTRACT_FIELD, extractField } from './extract-field.ts'
import { FLATTEN, flatten } from './flatten.ts'
import { DROP_HEADERS, dropHeaders, HEADER_FROM, headerFrom, INSERT_HEADER, insertHeader } from './headers.ts'
import { HOIST_FIELD, hoistField } from './hoist-field.ts'
import { INSERT_FIELD, insertField } from './insert-field.ts'
import { MASK_FIELD, maskField } from './mask-field.ts'
import {
  HAS_HEADER_KEY,
  hasHeaderKey,
  type Predicate,
  recordIsTombstone,
  TOPIC_NAME_MATCHES,
  topicNameMatches,
} from './predicates.ts'
import { REPLACE_FIELD, replaceField } from './replace-field.ts'
import { REGEX_ROUTER, regexRouter, TIMESTAMP_ROUTER, timestampRouter } from './routers.ts'
import { SET_SCHEMA_METADATA, setSchemaMetadata } from './set-schema-metadata.ts'
import type { Setting, SettingValues } from './settings.ts'
import { TIMESTAMP_CONVERTER, timestampConverter } from './timestamp-converter.ts'
import { type ChainContext, KEY, type Side, type Transform, VALUE } from './transform.ts'
import { VALUE_TO_KEY, valueToKey } from './value-to-key.ts'

export type Plugin<T> = {
  readonly className: string
  readonly settings: readonly Setting[]
  /** Throws `SettingsProblem` for what only the settings together show. */
  create(settings: SettingValues, chain: ChainContext): T
}

const PACKAGE = 'org.apache.kafka.connect.transforms.'

function sided(
  name: string,
  settings: readonly Setting[],
  create: (settings: SettingValues, side: Side, chain: ChainContext) => Transform,
): readonly Plugin<Transform>[] {
  return [KEY, VALUE].map((side) => ({
    className: `${PACKAGE}${name}$${side === KEY ? 'Key' : 'Value'}`,
    settings,
    create: (values, chain) => create(values, side, chain),
  }))
}

function whole(name: string, settings: readonly Setting[], create: Plugin<Transform>['create']): Plugin<Transform> {
  return { className: PACKAGE + name, settings, create }
}

/** In the order in which Connect lists them. */
export const TRANSFORMS: readonly Plugin<Transform>[] = [
  ...sided('Cast', CAST, cast),
  whole('DropHeaders', DROP_HEADERS, dropHeaders),
  ...sided('ExtractField', EXTRACT_FIELD, extractField),
  whole('Filter', [], () => () => undefined),
  ...sided('Flatten', FLATTEN, flatten),
  ...sided('HeaderFrom', HEADER_FROM, headerFrom),
  ...sided('HoistField', HOIST_FIELD, hoistField),
  ...sided('InsertField', INSERT_FIELD, insertField),
  whole('InsertHeader', INSERT_HEADER, insertHeader),
  ...sided('MaskField', MASK_FIELD, maskField),
  whole('RegexRouter', REGEX_ROUTER, regexRouter),
  ...sided('ReplaceField', REPLACE_FIELD, replaceField),
  ...sided('SetSchemaMetadata', SET_SCHEMA_METADATA, setSchemaMetadata),
  ...sided('TimestampConverter', TIMESTAMP_CONVERTER, timestampConverter),
  whole('TimestampRouter', TIMESTAMP_ROUTER, timestampRouter),
  whole('ValueToKey', VALUE_TO_KEY, valueToKey),
]

export const PREDICATES: readonly Plugin<Predicate>[] = [
  { className: `${PACKAGE}predicates.HasHeaderKey`, settings: HAS_HEADER_KEY, create: hasHeaderKey },
  { className: `${PACKAGE}predicates.RecordIsTombstone`, settings: [], create: recordIsTombstone },
  { className: `${PACKAGE}predicates.TopicNameMatches`, settings: TOPIC_NAME_MATCHES, create: topicNameMatches },
]

/** Also by the short names that Connect takes: `RegexRouter`. Those for key or value have none. */
export function pluginNamed<T>(plugins: readonly Plugin<T>[], name: string): Plugin<T> | undefined {
  const shortOf = (className: string) => className.slice(className.lastIndexOf('.') + 1)
  return plugins.find(({ className }) => className === name || (!name.includes('$') && shortOf(className) === name))
}
