/**
 * One list of requests, good and bad, in order, for a real Kafka Connect worker and for ours. `CLASS` stands for the
 * connector class of each, `OWN` for the properties it needs beside the common ones.
 */
export type RestRequest = {
  /** Unique. */
  readonly name: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  /** A text is sent as it is. */
  readonly body?: unknown
  readonly contentType?: string
  /** Asked again until the connector's state and its tasks' are this. */
  readonly until?: { readonly connector: string; readonly tasks?: readonly string[] } | { readonly offsets: number }
}

/** In each topic-partition of `orders`. */
export const RECORDS = 10

type Target = { readonly className: string; readonly own: Readonly<Record<string, string>> }

export function restRequests({ className, own }: Target): readonly RestRequest[] {
  const good = { 'connector.class': className, 'tasks.max': '1', topics: 'orders', ...own }
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))
  const post = (name: string, body: unknown): RestRequest => ({ name, method: 'POST', path: '/connectors', body })
  const put = (name: string, path: string, body?: unknown): RestRequest => ({ name, method: 'PUT', path, body })
  const get = (name: string, path: string, until?: RestRequest['until']): RestRequest => ({
    name,
    method: 'GET',
    path,
    until,
  })
  const running = { connector: 'RUNNING', tasks: ['RUNNING'] }
  const status = '/connectors/c1/status'
  const offset = (partition: unknown, position: unknown) => ({
    offsets: [{ partition: { kafka_topic: 'orders', kafka_partition: partition }, offset: position }],
  })
  const validate = `/connector-plugins/${className.split('.').at(-1)}/config/validate`
  const unknown: readonly (readonly [RestRequest['method'], string, unknown?])[] = [
    ['GET', ''],
    ['GET', '/config'],
    ['GET', '/status'],
    ['GET', '/tasks'],
    ['GET', '/tasks/0/status'],
    ['GET', '/topics'],
    ['GET', '/offsets'],
    ['PUT', '/pause'],
    ['PUT', '/resume'],
    ['PUT', '/stop'],
    ['POST', '/restart'],
    ['POST', '/restart?includeTasks=true'],
    ['POST', '/tasks/0/restart'],
    ['PUT', '/topics/reset'],
    ['PATCH', '/config', { a: 'b' }],
    ['PATCH', '/offsets', offset(0, { kafka_offset: 1 })],
    ['DELETE', '/offsets'],
    ['DELETE', ''],
  ]
  return [
    get('worker', '/'),
    get('no connectors', '/connectors'),
    post('malformed JSON', '{"name": "c1", '),
    post('no body', ''),
    post('body is a list', []),
    post('body is a text', '"c1"'),
    post('empty object', {}),
    post('no config', { name: 'c1' }),
    post('config is null', { name: 'c1', config: null }),
    post('config is a text', { name: 'c1', config: 'x' }),
    post('nested value', { name: 'c1', config: { ...good, nested: { a: 1 } } }),
    post('unknown field beside', { name: 'c1', config: good, extra: 1 }),
    post('empty name', { name: '', config: good }),
    post('no connector.class', { name: 'c1', config: without('connector.class') }),
    post('no topics', { name: 'c1', config: without('topics') }),
    post('empty topics', { name: 'c1', config: { ...good, topics: '' } }),
    post('topics and topics.regex', { name: 'c1', config: { ...good, 'topics.regex': 'ord.*' } }),
    post('bad topics.regex', { name: 'c1', config: { ...without('topics'), 'topics.regex': '[' } }),
    post('dead letters into its own topic', {
      name: 'c1',
      config: { ...good, 'errors.deadletterqueue.topic.name': 'orders' },
    }),
    post('name mismatch', { name: 'c1', config: { ...good, name: 'c2' } }),
    post('unknown class', { name: 'c1', config: { ...good, 'connector.class': 'org.example.Nothing' } }),
    post('tasks.max is no number', { name: 'c1', config: { ...good, 'tasks.max': 'many' } }),
    post('tasks.max is zero', { name: 'c1', config: { ...good, 'tasks.max': '0' } }),
    post('errors.tolerance is unknown', { name: 'c1', config: { ...good, 'errors.tolerance': 'some' } }),
    post('unknown converter', { name: 'c1', config: { ...good, 'value.converter': 'org.example.Nothing' } }),
    post('transform without type', { name: 'c1', config: { ...good, transforms: 'a' } }),
    post('unknown initial state', { name: 'c1', config: good, initial_state: 'SLEEPING' }),
    { name: 'text/plain', method: 'POST', path: '/connectors', body: '{}', contentType: 'text/plain' },
    post('create', { name: 'c1', config: { name: 'c1', ...good } }),
    post('create again', { name: 'c1', config: good }),
    get('status', status, running),
    get('list', '/connectors'),
    get('list with status', '/connectors?expand=status'),
    get('list with info', '/connectors?expand=info'),
    get('list with both', '/connectors?expand=status&expand=info'),
    get('list with unknown expansion', '/connectors?expand=nothing'),
    get('info', '/connectors/c1'),
    get('config', '/connectors/c1/config'),
    get('tasks', '/connectors/c1/tasks'),
    get('task status', '/connectors/c1/tasks/0/status'),
    get('unknown task status', '/connectors/c1/tasks/9/status'),
    get('task that is no number', '/connectors/c1/tasks/x/status'),
    get('topics', '/connectors/c1/topics'),
    put('reset topics', '/connectors/c1/topics/reset'),
    put('pause', '/connectors/c1/pause'),
    get('paused', status, { connector: 'PAUSED', tasks: ['PAUSED'] }),
    put('pause again', '/connectors/c1/pause'),
    put('resume', '/connectors/c1/resume'),
    get('resumed', status, running),
    put('resume again', '/connectors/c1/resume'),
    get('offsets while running', '/connectors/c1/offsets', { offsets: 2 }),
    {
      name: 'alter offsets while running',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset(0, { kafka_offset: 1 }),
    },
    { name: 'reset offsets while running', method: 'DELETE', path: '/connectors/c1/offsets' },
    put('stop', '/connectors/c1/stop'),
    get('stopped', status, { connector: 'STOPPED', tasks: [] }),
    get('tasks of a stopped one', '/connectors/c1/tasks'),
    get('offsets of a stopped one', '/connectors/c1/offsets'),
    { name: 'alter offsets: no body', method: 'PATCH', path: '/connectors/c1/offsets', body: {} },
    { name: 'alter offsets: no list', method: 'PATCH', path: '/connectors/c1/offsets', body: { offsets: [] } },
    {
      name: 'alter offsets: partition is a word',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset('x', { kafka_offset: 1 }),
    },
    {
      name: 'alter offsets: offset is a word',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset(0, { kafka_offset: 'x' }),
    },
    {
      name: 'alter offsets: negative',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset(0, { kafka_offset: -1 }),
    },
    {
      name: 'alter offsets: no topic',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: { offsets: [{ partition: { kafka_partition: 0 }, offset: { kafka_offset: 1 } }] },
    },
    {
      name: 'alter offsets: malformed',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: '{"offsets": ',
    },
    {
      name: 'alter offsets',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset(0, { kafka_offset: RECORDS }),
    },
    {
      name: 'alter offsets, both as texts',
      method: 'PATCH',
      path: '/connectors/c1/offsets',
      body: offset('1', { kafka_offset: String(RECORDS) }),
    },
    { name: 'reset offsets', method: 'DELETE', path: '/connectors/c1/offsets' },
    put('pause a stopped one', '/connectors/c1/pause'),
    get('paused after stop', status, { connector: 'PAUSED' }),
    put('resume a paused one', '/connectors/c1/resume'),
    get('running once more', status, running),
    { name: 'restart', method: 'POST', path: '/connectors/c1/restart' },
    get('restarted', status, running),
    { name: 'restart with tasks', method: 'POST', path: '/connectors/c1/restart?includeTasks=true' },
    get('restarted with tasks', status, running),
    {
      name: 'restart what failed',
      method: 'POST',
      path: '/connectors/c1/restart?includeTasks=true&onlyFailed=true',
    },
    get('nothing had failed', status, running),
    { name: 'restart a task', method: 'POST', path: '/connectors/c1/tasks/0/restart' },
    get('task restarted', status, running),
    { name: 'restart an unknown task', method: 'POST', path: '/connectors/c1/tasks/9/restart' },
    put('change the config', '/connectors/c1/config', { ...good, 'tasks.max': '2' }),
    get('changed config', '/connectors/c1/config'),
    put('change the config under another name', '/connectors/c1/config', { ...good, name: 'c2' }),
    put('change to a config without class', '/connectors/c1/config', without('connector.class')),
    put('change to a bad config', '/connectors/c1/config', { ...good, 'errors.tolerance': 'some' }),
    put('change: malformed', '/connectors/c1/config', '{"a"'),
    put('change: a list', '/connectors/c1/config', []),
    { name: 'patch the config', method: 'PATCH', path: '/connectors/c1/config', body: { 'tasks.max': '1' } },
    {
      name: 'patch a property away',
      method: 'PATCH',
      path: '/connectors/c1/config',
      body: { 'errors.log.enable': null },
    },
    {
      name: 'patch to a bad config',
      method: 'PATCH',
      path: '/connectors/c1/config',
      body: { topics: null },
    },
    put('create by PUT', '/connectors/c3/config', { ...good, topics: 'orders' }),
    { name: 'delete it', method: 'DELETE', path: '/connectors/c3' },
    post('create a stopped one', { name: 'c4', config: good, initial_state: 'STOPPED' }),
    get('it is stopped', '/connectors/c4/status', { connector: 'STOPPED', tasks: [] }),
    { name: 'delete the stopped one', method: 'DELETE', path: '/connectors/c4' },
    ...unknown.map(
      ([method, rest, body]): RestRequest => ({
        name: `unknown connector: ${method} ${rest}`,
        method,
        path: `/connectors/nothing${rest}`,
        body,
      }),
    ),
    get('plugins', '/connector-plugins'),
    get('plugins of all kinds', '/connector-plugins?connectorsOnly=false'),
    get('definitions of the plugin', `/connector-plugins/${className.split('.').at(-1)}/config`),
    get('definitions of an unknown plugin', '/connector-plugins/Nothing/config'),
    put('validate', validate, { name: 'v', ...good }),
    put('validate: errors', validate, { name: 'v', ...good, 'tasks.max': 'x', 'errors.tolerance': 'some' }),
    put('validate: no topics', validate, { name: 'v', ...without('topics') }),
    put('validate: both topics and regex', validate, { name: 'v', ...good, 'topics.regex': 'a' }),
    put('validate: no name', validate, good),
    put('validate: unknown property', validate, { name: 'v', ...good, 'no.such.property': '1' }),
    put('validate: empty', validate, {}),
    put('validate: another class', validate, { ...good, 'connector.class': 'org.example.Nothing' }),
    put('validate: unknown plugin', '/connector-plugins/Nothing/config/validate', good),
    put('validate: malformed', validate, '{"a"'),
    get('loggers', '/admin/loggers'),
    get('unknown logger', '/admin/loggers/no.such.logger'),
    put('level of a logger', '/admin/loggers/org.apache.kafka.connect.test', { level: 'DEBUG' }),
    put('unknown level', '/admin/loggers/org.apache.kafka.connect.test', { level: 'LOUD' }),
    get('unknown path', '/nothing'),
    { name: 'method not allowed', method: 'DELETE', path: '/connectors' },
    { name: 'delete', method: 'DELETE', path: '/connectors/c1' },
    { name: 'delete again', method: 'DELETE', path: '/connectors/c1' },
  ]
}

export type RestAnswer = {
  readonly name: string
  readonly status: number
  readonly contentType: string | undefined
  readonly location: string | undefined
  /** Parsed where it is JSON. */
  readonly body: unknown
}

const SETTLE_MS = 60_000
const PAUSE_MS = 100
const HELD_TIMES = 10

/** One after the other. A `moody` server that fails to answer a GET is asked again; what it says then counts. */
export async function ask(
  url: string,
  requests: readonly RestRequest[],
  { moody = false } = {},
): Promise<readonly RestAnswer[]> {
  const answers: RestAnswer[] = []
  for (const request of requests) {
    let answer = await askOne(url, request)
    const isQuestion = request.method === 'GET'
    const patienceEnds = performance.now() + SETTLE_MS
    while (moody && isQuestion && answer.status === 500 && performance.now() < patienceEnds) {
      console.log(`${request.name}: asked again after ${JSON.stringify(answer.body)}`)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      answer = await askOne(url, request)
    }
    answers.push(answer)
  }
  return answers
}

async function askOne(url: string, request: RestRequest): Promise<RestAnswer> {
  const deadline = AbortSignal.timeout(SETTLE_MS)
  for (let held = 0; ; ) {
    const answer = await send(url, request)
    // A worker that is moving tasks says 409 (rebalance), and so may we not: it is asked again.
    const isRebalance = answer.status === 409 && JSON.stringify(answer.body).includes('rebalance')
    if (!isRebalance && request.until === undefined) return answer
    // A worker tells the state of before a restart for a moment: what holds for a while is settled.
    held = !isRebalance && request.until && isSettled(answer.body, request.until) ? held + 1 : 0
    if (held >= HELD_TIMES) return answer
    if (deadline.aborted) throw new Error(`${request.name}: not settled: ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

async function send(url: string, { name, method, path, body, contentType }: RestRequest): Promise<RestAnswer> {
  const reply = await fetch(`${url}${path}`, {
    method,
    headers: body === undefined ? {} : { 'content-type': contentType ?? 'application/json' },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await reply.text()
  return {
    name,
    status: reply.status,
    contentType: reply.headers.get('content-type') ?? undefined,
    location: reply.headers.get('location') ?? undefined,
    body: parsed(text),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function isSettled(body: unknown, until: NonNullable<RestRequest['until']>): boolean {
  if ('offsets' in until) return (body as { offsets?: unknown[] }).offsets?.length === until.offsets
  const { connector, tasks } = body as { connector?: { state: string }; tasks?: { state: string }[] }
  if (connector?.state !== until.connector) return false
  return until.tasks === undefined || tasks?.map(({ state }) => state).join() === until.tasks.join()
}
