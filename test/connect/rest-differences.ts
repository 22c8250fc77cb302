/**
 * Where our REST API answers otherwise than a Kafka Connect worker, on purpose, each with its reason: data for the
 * comparison, and for `docs/connect.md`.
 */

type Difference = { readonly requests: readonly string[]; readonly why: string }

/** Another status. */
export const STATUS_DIFFERENCES: readonly (Difference & { readonly theirs: number; readonly ours: number })[] = [
  {
    requests: [
      'malformed JSON',
      'no body',
      'body is a list',
      'body is a text',
      'empty object',
      'no config',
      'config is null',
      'config is a text',
      'nested value',
      'unknown field beside',
      'unknown initial state',
      'change: malformed',
      'change: a list',
      'validate: empty',
      'validate: malformed',
      'alter offsets: malformed',
      'alter offsets: negative',
    ],
    theirs: 500,
    ours: 400,
    why: 'a request that cannot be read is the mistake of whoever sent it, not of the server',
  },
  {
    requests: ['level of a logger'],
    theirs: 200,
    ours: 403,
    why: 'levels of the log are settings of the service (log.level)',
  },
  {
    requests: ['unknown level'],
    theirs: 404,
    ours: 403,
    why: 'levels of the log are settings of the service (log.level)',
  },
]

/** The same status, another text. */
export const MESSAGE_DIFFERENCES: readonly Difference[] = [
  {
    requests: [
      'no connector.class',
      'change to a config without class',
      'unknown class',
      'validate: another class',
      'validate: unknown plugin',
    ],
    why: 'theirs repeats the whole configuration or lists Java classes',
  },
  { requests: ['bad topics.regex'], why: 'what is wrong with an expression is told in our own words' },
  { requests: ['tasks.max is no number'], why: 'theirs tells one mistake twice' },
  { requests: ['unknown converter'], why: 'ours tells which converters there are' },
  { requests: ['unknown path'], why: 'a path that is no part of the API is answered by the service that it lives in' },
]

/** The same status, another shape of the body. */
export const SHAPE_DIFFERENCES: readonly Difference[] = [
  { requests: ['unknown path'], why: 'a path that is no part of the API is answered by the service that it lives in' },
  {
    requests: ['tasks of a stopped one', 'paused after stop', 'patch the config', 'patch a property away'],
    why: 'tasks are the processes that take part: a paused connector has one, and a second comes with a second process',
  },
]

/** What ours has beside: keys of objects, wherever they stand. */
export const KEYS_BESIDE: Readonly<Record<string, string>> = {
  millrace: 'lag, freshness, rates and dead letters of a connector, in its status',
  warnings: 'properties that have no effect, in the answer to validate',
}
