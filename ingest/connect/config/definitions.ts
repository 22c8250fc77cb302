/**
 * The properties that a connector of ours knows: those of every Kafka Connect sink under their own names, and those that
 * begin with `millrace.`. `millrace connect`'s reference, `/connector-plugins/Millrace/config` and validation are made from
 * this list. Properties of converters, transforms and the consumer have families of their own (`converters.ts`,
 * `transforms.ts`, `consumer-overrides.ts`).
 */
import type { ConfigDefinition, ConfigImportance, ConfigType } from './config-value.ts'

const COMMON = 'Common'
const ERRORS = 'Error Handling'
const MILLRACE = 'Millrace'

/** Where the topic's name goes in `millrace.table`. */
export const TOPIC_PLACE = `\${topic}`
export const CONNECTOR_CLASS = 'io.millrace.connect.MillraceSinkConnector'
export const JSON_CONVERTER = 'org.apache.kafka.connect.json.JsonConverter'
/** Groups in the order in which they are shown. */
export const GROUPS = [COMMON, 'Transforms', 'Predicates', ERRORS, MILLRACE] as const

type Rest = Partial<Pick<ConfigDefinition, 'fallback' | 'required' | 'allowed' | 'min' | 'max'>>

function property(
  group: string,
  [name, displayName]: readonly [string, string],
  type: ConfigType,
  importance: ConfigImportance,
  documentation: string,
  rest: Rest = {},
): ConfigDefinition {
  return { name, type, importance, documentation, group, displayName, ...rest }
}

export const DEFINITIONS: readonly ConfigDefinition[] = [
  property(COMMON, ['name', 'Connector name'], 'STRING', 'HIGH', 'Name of the connector, once in a lake.', {
    required: true,
  }),
  property(
    COMMON,
    ['connector.class', 'Connector class'],
    'STRING',
    'HIGH',
    `Millrace, MillraceSink, MillraceSinkConnector or ${CONNECTOR_CLASS}: all mean this service.`,
    { required: true },
  ),
  property(
    COMMON,
    ['connector.plugin.version', 'Connector version'],
    'STRING',
    'MEDIUM',
    'Version of the connector; there is one only, that of the service.',
  ),
  property(
    COMMON,
    ['tasks.max', 'Tasks max'],
    'INT',
    'HIGH',
    'How many ingest processes take part, each with its share of the topic-partitions.',
    { fallback: '1', min: 1 },
  ),
  property(
    COMMON,
    ['topics', 'Topics'],
    'LIST',
    'HIGH',
    'Topics to read, separated by commas. Either this or topics.regex.',
    { fallback: '' },
  ),
  property(
    COMMON,
    ['topics.regex', 'Topics regex'],
    'STRING',
    'HIGH',
    'Regular expression that names of topics match as a whole; topics that come later are read too.',
    { fallback: '' },
  ),
  property(
    COMMON,
    ['key.converter', 'Key converter class'],
    'CLASS',
    'LOW',
    'How bytes of keys are read. Keys are read only where something needs them: millrace.key.prefix or a transform.',
    { fallback: JSON_CONVERTER },
  ),
  property(COMMON, ['value.converter', 'Value converter class'], 'CLASS', 'LOW', 'How bytes of values are read.', {
    fallback: JSON_CONVERTER,
  }),
  property(
    COMMON,
    ['header.converter', 'Header converter class'],
    'CLASS',
    'LOW',
    'Headers are kept as text (millrace.headers.column): the usual SimpleHeaderConverter and StringConverter are taken.',
    { fallback: 'org.apache.kafka.connect.storage.SimpleHeaderConverter' },
  ),
  property(
    COMMON,
    ['config.action.reload', 'Reload action'],
    'STRING',
    'LOW',
    'Secrets are read when a task starts; a restart reads them again. Nothing restarts by itself: only "none" and "restart" are known, and both mean that.',
    { fallback: 'restart', allowed: ['none', 'restart'] },
  ),
  property('Transforms', ['transforms', 'Transforms'], 'LIST', 'LOW', 'Names of the transforms, in their order.', {
    fallback: '',
  }),
  property(
    'Predicates',
    ['predicates', 'Predicates'],
    'LIST',
    'LOW',
    'Names of the predicates that transforms refer to.',
    { fallback: '' },
  ),
  property(
    ERRORS,
    ['errors.retry.timeout', 'Retry Timeout for Errors'],
    'LONG',
    'MEDIUM',
    'How long, in milliseconds, a schema that the registry does not give is asked for again before its records count as bad; -1: for ever. What is away (broker, store, catalog) is always waited for.',
    { fallback: '0', min: -1 },
  ),
  property(
    ERRORS,
    ['errors.retry.delay.max.ms', 'Maximum Delay Between Retries for Errors'],
    'LONG',
    'MEDIUM',
    'Longest pause between two attempts.',
    { fallback: '60000', min: 1 },
  ),
  property(
    ERRORS,
    ['errors.tolerance', 'Error Tolerance'],
    'STRING',
    'MEDIUM',
    'all: a record that cannot become a row is kept whole among the dead letters, and the others go on. none: it stops the task, which is FAILED until the cause is gone. Kafka Connect’s own default is none.',
    { fallback: 'all', allowed: ['none', 'all'] },
  ),
  property(
    ERRORS,
    ['errors.log.enable', 'Log Errors'],
    'BOOLEAN',
    'MEDIUM',
    'Write a line to the log for bad records, at most one a second.',
    { fallback: 'false' },
  ),
  property(
    ERRORS,
    ['errors.log.include.messages', 'Log Error Details'],
    'BOOLEAN',
    'MEDIUM',
    'Let that line name topic, topic-partition, offset and timestamp of the record.',
    { fallback: 'false' },
  ),
  property(
    ERRORS,
    ['errors.deadletterqueue.topic.name', 'Dead Letter Queue Topic Name'],
    'STRING',
    'MEDIUM',
    'Topic that dead letters are copied to, at least once. The table of dead letters has them in any case.',
    { fallback: '' },
  ),
  property(
    ERRORS,
    ['errors.deadletterqueue.topic.replication.factor', 'Dead Letter Queue Topic Replication Factor'],
    'SHORT',
    'MEDIUM',
    'Of that topic, when it is made.',
    { fallback: '3', min: 1 },
  ),
  property(
    ERRORS,
    ['errors.deadletterqueue.context.headers.enable', 'Enable Error Context Headers'],
    'BOOLEAN',
    'MEDIUM',
    'Add headers that tell where the record came from and what was wrong; their names begin with __connect.errors.',
    { fallback: 'false' },
  ),
  property(
    MILLRACE,
    ['millrace.table', 'Table'],
    'STRING',
    'HIGH',
    `Table that records go to; \${topic} stands for the topic in lower case with _ for what table names may not have. Several, separated by commas: every record goes to each of them, in one commit.`,
    { fallback: TOPIC_PLACE },
  ),
  property(
    MILLRACE,
    ['millrace.columns', 'Columns'],
    'STRING',
    'MEDIUM',
    'Columns of the table, as `name type [required]`, separated by commas or in JSON as in millrace.yaml. Without it they come from the schema of the records, or are inferred from the first of them.',
  ),
  property(
    MILLRACE,
    ['millrace.partition', 'Partitioning'],
    'LIST',
    'MEDIUM',
    'How data files are split: `day(ts)`, `bucket(16, id)`, …; used when the table is made.',
    { fallback: '' },
  ),
  property(
    MILLRACE,
    ['millrace.sort', 'Sort order'],
    'LIST',
    'MEDIUM',
    'Order of rows within data files: `ts, id desc`; used when the table is made.',
    { fallback: '' },
  ),
  property(
    MILLRACE,
    ['millrace.event-time', 'Event time'],
    'STRING',
    'MEDIUM',
    'Column that says when a row happened; used when the table is made.',
  ),
  property(
    MILLRACE,
    ['millrace.evolution', 'Evolution'],
    'STRING',
    'MEDIUM',
    'What happens when records have fields that the table lacks, or wider types. evolve: the table follows. freeze: unknown fields are skipped and counted. fail: such records are bad.',
    { fallback: 'evolve', allowed: ['evolve', 'freeze', 'fail'] },
  ),
  property(
    MILLRACE,
    ['millrace.flush.interval.ms', 'Flush interval'],
    'LONG',
    'MEDIUM',
    'Longest time between two flush ticks while this connector runs. A process goes by the shortest of its connectors and of its own flush.interval.ms, so a longer one has no effect.',
    { min: 10, max: 3_600_000 },
  ),
  property(
    MILLRACE,
    ['millrace.headers.column', 'Headers column'],
    'STRING',
    'LOW',
    'Keep the headers of records in a map column of this name.',
  ),
  property(
    MILLRACE,
    ['millrace.key.prefix', 'Key prefix'],
    'STRING',
    'LOW',
    'Keep fields of keys in columns whose names begin with this; a key that is no object becomes one column, named without the trailing _.',
  ),
  property(
    MILLRACE,
    ['millrace.rate.rows.max', 'Rows a second'],
    'LONG',
    'LOW',
    'Most rows a second that each task takes; the rest waits in Kafka.',
    { min: 1 },
  ),
  property(
    MILLRACE,
    ['millrace.rate.bytes.max', 'Bytes a second'],
    'LONG',
    'LOW',
    'Most bytes a second that each task takes.',
    { min: 1 },
  ),
]
