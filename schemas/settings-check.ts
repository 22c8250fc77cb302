/**
 * What settings must be together: each rule looks at several of them, after every single one was found sound. One
 * function a rule; each finding names the setting to change.
 */
import { isLoopback, type Settings, type TableSettings } from './settings.ts'
import { partitionColumn, sortColumn } from './settings-tables.ts'
import { DEAD_LETTERS_SUFFIX, HIDDEN_COLUMNS } from './table-schema.ts'

export type SettingsFinding = {
  readonly path: string
  readonly inside?: readonly (string | number)[]
  readonly expected: string
  readonly found: string
}

/** Between the end of a query's fetches and its start a file must not go; this much is kept for fetching. */
export const FETCH_ALLOWANCE_MS = 60_000
const NAME_LENGTH_MAX = 100
const PIPELINE_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]*$/
const TABLE_NAME = /^[a-z][a-z0-9_]*$/

export function checkSettings(settings: Settings): SettingsFinding[] {
  return [
    ...checkReadersGrace(settings),
    ...checkListeners(settings),
    ...checkTokens(settings),
    ...checkStorage(settings),
    ...checkCatalog(settings),
    ...checkKafka(settings),
    ...checkIngest(settings),
    ...checkLeases(settings),
    ...settings.tables.flatMap(checkTable),
    ...checkPipelines(settings),
  ]
}

/** Foreign readers hold no row in the catalog, and ours may fall silent: a query must end before its files may go. */
function checkReadersGrace({ query, snapshot, sweep, timeTravel }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  const longest = query.timeoutMs + FETCH_ALLOWANCE_MS
  if (longest >= snapshot.minAgeMs) {
    findings.push({
      path: 'snapshot.min-age',
      expected: `more than query.timeout.ms plus one minute for fetching (${longest} ms)`,
      found: `${snapshot.minAgeMs} ms`,
    })
  }
  if (longest < snapshot.minAgeMs && longest + timeTravel.fineMs >= snapshot.minAgeMs) {
    findings.push({
      path: 'time-travel.fine',
      expected: `less than snapshot.min-age without query.timeout.ms and one minute (${snapshot.minAgeMs - longest} ms)`,
      found: `${timeTravel.fineMs} ms`,
    })
  }
  if (sweep.readerSilentMs < query.timeoutMs) {
    findings.push({
      path: 'sweep.reader-silent.ms',
      expected: `at least query.timeout.ms (${query.timeoutMs} ms)`,
      found: `${sweep.readerSilentMs} ms`,
    })
  }
  return findings
}

function checkListeners({ listen, tls, tokens }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  const ports = new Map<string, string>()
  for (const [service, { host, port }] of Object.entries(listen)) {
    const path = `listen.${service}`
    if (port > 65_535) findings.push({ path, expected: 'a port up to 65535', found: String(port) })
    const earlier = port === 0 ? undefined : ports.get(`${host}:${port}`)
    if (earlier) findings.push({ path, expected: 'an address of its own', found: `the address of ${earlier}` })
    ports.set(`${host}:${port}`, path)
    if (isLoopback(host)) continue
    if (tls.cert === undefined || tls.key === undefined) {
      findings.push({
        path,
        expected: 'a loopback address, or TLS: "millrace tls create" makes a certificate and prints the settings',
        found: `${host}:${port} without tls.cert and tls.key`,
      })
    }
    if (tokens.length === 0) {
      findings.push({
        path,
        expected: 'a loopback address, or a token: "millrace token create" makes one and prints the settings',
        found: `${host}:${port} without tokens`,
      })
    }
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    const missing = tls.cert === undefined ? 'tls.cert' : 'tls.key'
    findings.push({
      path: missing === 'tls.cert' ? 'tls.key' : 'tls.cert',
      expected: `${missing} beside it`,
      found: 'only one of the two',
    })
  }
  return findings
}

function checkTokens({ tokens }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  const names = new Set<string>()
  const texts = new Set<string>()
  for (const [index, token] of tokens.entries()) {
    if (names.has(token.name)) {
      findings.push({
        path: 'tokens',
        inside: [index, 'name'],
        expected: 'names given once',
        found: `"${token.name}" twice`,
      })
    }
    if (texts.has(token.token)) {
      findings.push({
        path: 'tokens',
        inside: [index, 'token'],
        expected: 'tokens given once',
        found: `that of "${token.name}" twice`,
      })
    }
    names.add(token.name)
    texts.add(token.token)
  }
  return findings
}

function checkStorage({ lake, storage }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  const { accessKeyId, secretAccessKey } = storage.s3
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    const given = accessKeyId === undefined ? 'secret-access-key' : 'access-key-id'
    findings.push({
      path: `storage.s3.${given}`,
      expected: 'access-key-id and secret-access-key together',
      found: 'one of the two',
    })
  }
  if (storage.cold !== undefined && lake.root.startsWith('s3://')) {
    findings.push({
      path: 'storage.cold',
      expected: 'a local lake.root beside it',
      found: `lake.root ${lake.root}, which is shared already`,
    })
  }
  return findings
}

/** Processes of several machines must find the same bytes. */
function checkCatalog({ catalog, lake, singleMachine }: Settings): SettingsFinding[] {
  const isShared = !catalog.url.startsWith('sqlite:')
  if (!isShared || singleMachine || lake.root.startsWith('s3://')) return []
  const expected = '"s3://bucket/prefix" beside a PostgreSQL catalog, or "single-machine: true"'
  return [{ path: 'lake.root', expected, found: lake.root }]
}

function checkKafka({ kafka, pipelines }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  if (pipelines.length > 0 && kafka.bootstrap.length === 0) {
    findings.push({ path: 'kafka.bootstrap', expected: 'brokers, since there are pipelines', found: 'none' })
  }
  const { protocol, mechanism, username, password, cert, key, oauth } = kafka.security
  if (protocol.startsWith('sasl')) {
    const needed =
      mechanism === 'oauthbearer'
        ? {
            'oauth.endpoint': oauth.endpoint,
            'oauth.client-id': oauth.clientId,
            'oauth.client-secret': oauth.clientSecret,
          }
        : { username, password }
    const missing = Object.entries(needed).find(([, value]) => value === undefined)?.[0]
    if (missing !== undefined) {
      findings.push({
        path: 'kafka.security.protocol',
        expected: `kafka.security.${missing} beside it`,
        found: protocol,
      })
    }
  }
  if ((cert === undefined) !== (key === undefined)) {
    const [there, missing] = cert === undefined ? ['key', 'cert'] : ['cert', 'key']
    findings.push({ path: `kafka.security.${there}`, expected: `kafka.security.${missing} beside it`, found: 'none' })
  }
  return findings
}

function checkIngest({ ingest, flush }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  for (const [path, bytes] of [
    ['ingest.record.bytes.max', ingest.recordBytesMax],
    ['ingest.request.bytes.max', ingest.requestBytesMax],
    ['flush.bytes', flush.bytes],
  ] as const) {
    if (bytes > ingest.memoryMax) {
      findings.push({
        path,
        expected: `at most ingest.memory.max (${ingest.memoryMax} bytes)`,
        found: `${bytes} bytes`,
      })
    }
  }
  return findings
}

function checkLeases({ leasesMs, sweep }: Settings): SettingsFinding[] {
  if (sweep.writerSilentMs >= leasesMs) return []
  return [
    {
      path: 'sweep.writer-silent.ms',
      expected: `at least leases.ms (${leasesMs} ms)`,
      found: `${sweep.writerSilentMs} ms`,
    },
  ]
}

export function tableNameProblem(name: string): string | undefined {
  if (!TABLE_NAME.test(name)) return 'a table name of a-z, 0-9 and _, beginning with a letter'
  if (name.length > NAME_LENGTH_MAX) return `a table name of at most ${NAME_LENGTH_MAX} characters`
  if (name.endsWith(DEAD_LETTERS_SUFFIX)) return `a table name that does not end in ${DEAD_LETTERS_SUFFIX}`
  return undefined
}

function checkTable(table: TableSettings): SettingsFinding[] {
  const base = `tables.${table.name}`
  const findings: SettingsFinding[] = []
  const nameProblem = tableNameProblem(table.name)
  if (nameProblem) findings.push({ path: base, expected: nameProblem, found: `"${table.name}"` })
  if (!table.columns) return findings

  const seen = new Map<string, string>()
  for (const [index, { name }] of table.columns.entries()) {
    const earlier = seen.get(name.toLowerCase())
    const inside = [index]
    if (earlier !== undefined) {
      const found = `"${name}" beside "${earlier}"`
      findings.push({ path: `${base}.columns`, inside, expected: 'column names that differ in more than case', found })
    }
    seen.set(name.toLowerCase(), name)
    const hidden = HIDDEN_COLUMNS.find((each) => each.name === name.toLowerCase())
    if (hidden) {
      const expected = `a name other than the hidden column ${hidden.name}`
      findings.push({ path: `${base}.columns`, inside, expected, found: `"${name}"` })
    }
  }
  const known = new Set([...table.columns, ...HIDDEN_COLUMNS].map(({ name }) => name))
  const mustExist = (key: string, name: string, inside?: readonly number[]) => {
    if (known.has(name)) return
    findings.push({
      path: `${base}.${key}`,
      inside,
      expected: `a column of the table (${columnList(table)})`,
      found: `"${name}"`,
    })
  }
  for (const [index, text] of table.partition.entries()) mustExist('partition', partitionColumn(text), [index])
  for (const [index, text] of table.sort.entries()) mustExist('sort', sortColumn(text), [index])
  if (table.eventTime !== undefined) mustExist('event-time', table.eventTime)
  return findings
}

function columnList({ columns }: TableSettings): string {
  const names = (columns ?? []).map(({ name }) => name)
  return names.length > 20 ? `${names.slice(0, 20).join(', ')}, …` : names.join(', ')
}

function checkPipelines({ pipelines }: Settings): SettingsFinding[] {
  const findings: SettingsFinding[] = []
  const readers = new Map<string, string>()
  for (const { name, topics, tables: targets } of pipelines) {
    const base = `pipelines.${name}`
    if (!PIPELINE_NAME.test(name) || name.length > NAME_LENGTH_MAX) {
      findings.push({ path: base, expected: 'a pipeline name of letters, digits, _ and -', found: `"${name}"` })
    }
    if (topics.length === 0) findings.push({ path: `${base}.topics`, expected: 'at least one topic', found: 'none' })
    if (targets.length === 0) findings.push({ path: `${base}.tables`, expected: 'at least one table', found: 'none' })
    if (new Set(targets).size < targets.length) {
      findings.push({ path: `${base}.tables`, expected: 'each table once', found: targets.join(', ') })
    }
    if (new Set(topics).size < topics.length) {
      findings.push({ path: `${base}.topics`, expected: 'each topic once', found: topics.join(', ') })
    }
    // Both would write the same (_source, _partition, _offset) into one table: rows twice (G-2).
    for (const [index, topic] of topics.entries()) {
      for (const target of targets) {
        const other = readers.get(`${topic}\u0000${target}`)
        if (other !== undefined && other !== name) {
          const expected = `no other pipeline from topic "${topic}" into table "${target}"`
          findings.push({ path: `${base}.topics`, inside: [index], expected, found: `pipeline "${other}"` })
        }
        readers.set(`${topic}\u0000${target}`, name)
      }
    }
  }
  return findings
}
