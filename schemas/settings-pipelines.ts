/** What people may say of a pipeline in `millrace.yaml`. */
import { bytes, choice, integer, list } from './settings-leaf.ts'

const MiB = 1024 ** 2

/** Settings of one pipeline, under `pipelines.<name>.`. */
export const PIPELINE_LEAVES = {
  topics: list({
    description: 'Topics to read.',
    fallback: [],
    expected: 'a topic name',
    pattern: /^[A-Za-z0-9._-]{1,249}$/,
    max: 1000,
  }),
  tables: list({
    description: 'Tables to write: every record goes to every one of them, in one commit.',
    fallback: [],
    expected: 'a table name',
    pattern: /^[a-z][a-z0-9_]*$/,
    max: 100,
  }),
  format: choice({ description: 'What the bytes of a record are.', choices: ['json'], fallback: 'json' }),
  'auto-offset-reset': choice({
    description: 'Overrides `kafka.auto.offset.reset` for this pipeline.',
    choices: ['earliest', 'latest'],
    fallback: undefined,
  }),
  'rate.rows.max': integer({
    description: 'So many records a second at most, in each ingest process; 0: no limit.',
    fallback: 0,
    min: 0,
    max: 1_000_000_000,
  }),
  'rate.bytes.max': bytes({
    description: 'So many bytes of values a second at most, in each ingest process; 0: no limit.',
    fallback: 0,
    min: 0,
    max: 64 * 1024 * MiB,
  }),
} as const
