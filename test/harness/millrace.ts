/**
 * Millrace's own services as real processes over a folder of the test: settings written as YAML, free ports, the
 * services started, killed and started again one by one, SQL asked and rows sent over HTTP like any client does.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { freePort } from './free-port.ts'
import { type StartedProcess, startProcess } from './processes.ts'

export type ServiceName = 'ingest' | 'compactor' | 'query'

export type MillraceOptions = {
  /** YAML after what the harness writes itself (data folder and ports). */
  readonly settings: string
  readonly env?: Readonly<Record<string, string | undefined>>
}

export type SqlAnswer = {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly data: readonly (readonly unknown[])[]
  readonly stats: Readonly<Record<string, number>>
  readonly tables: readonly { readonly name: string; readonly version: string; readonly freshness_ms: number | null }[]
}

export type StartOptions = {
  /** Die (SIGKILL) at this crash point: `name` or `name:n`. */
  readonly crashAt?: string
  /** Freeze (SIGSTOP) at this crash point, in the same words. */
  readonly pauseAt?: string
  /** Of a compactor: removed files may go as soon as no reader's row needs them (`test/lake/compactor-process.ts`). */
  readonly withoutGrace?: boolean
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `--set` arguments. */
  readonly set?: readonly string[]
  /** Another process of the same service: a free port of its own. */
  readonly extra?: boolean
}

export type StartedService = StartedProcess & { readonly url: string }

export type Millrace = {
  readonly folder: string
  readonly configFile: string
  url(service: ServiceName): string
  start(service: ServiceName, options?: StartOptions): Promise<StartedService>
  sql(sql: string, options?: Readonly<Record<string, unknown>>): Promise<SqlAnswer>
  /** The single value of a statement's single row. */
  value(sql: string): Promise<unknown>
  ingest(
    table: string,
    body: string | Uint8Array,
    options?: IngestOptions,
  ): Promise<{ status: number; body: Record<string, unknown> }>
  /** Asks until the value is what `until` wants, for at most `withinMs`; then fails with the last answer. */
  eventually(sql: string, until: (value: unknown) => boolean, withinMs?: number): Promise<unknown>
  /** Stops what still runs and removes the folder. */
  close(): Promise<void>
}

export type IngestOptions = { readonly query?: string; readonly headers?: Readonly<Record<string, string>> }

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const COMPACTOR_WITHOUT_GRACE = join(import.meta.dirname, '..', 'lake', 'compactor-process.ts')

export async function createMillrace(options: MillraceOptions): Promise<Millrace> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'))
  const configFile = join(folder, 'millrace.yaml')
  const ports = { ingest: await freePort(), compactor: await freePort(), query: await freePort() }
  const own = [
    `data: ${JSON.stringify(join(folder, 'data'))}`,
    `listen.ingest: 127.0.0.1:${ports.ingest}`,
    `listen.compactor: 127.0.0.1:${ports.compactor}`,
    `listen.query: 127.0.0.1:${ports.query}`,
  ]
  await writeFile(configFile, `${own.join('\n')}\n${options.settings}\n`)
  const started: StartedProcess[] = []
  const url = (service: ServiceName) => `http://127.0.0.1:${ports[service]}`

  async function sql(text: string, extra: Readonly<Record<string, unknown>> = {}): Promise<SqlAnswer> {
    const { statusCode, body } = await request(`${url('query')}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql: text, ...extra }),
    })
    const answer = await body.text()
    if (statusCode !== 200) throw new Error(`${statusCode} ${answer}: ${text}`)
    return JSON.parse(answer) as SqlAnswer
  }

  const value = async (text: string) => (await sql(text)).data[0]?.[0]

  return {
    folder,
    configFile,
    url,
    sql,
    value,
    async start(service, { crashAt, pauseAt, env, set = [], extra = false, withoutGrace = false } = {}) {
      const port = extra ? await freePort() : ports[service]
      const args = [
        withoutGrace ? COMPACTOR_WITHOUT_GRACE : MAIN,
        service,
        '--config',
        configFile,
        ...set.flatMap((each) => ['--set', each]),
      ]
      if (extra) args.push('--set', `listen.${service}=127.0.0.1:${port}`)
      const process_ = await startProcess({
        name: service,
        command: process.execPath,
        args,
        env: {
          ...process.env,
          ...options.env,
          ...env,
          ...(crashAt === undefined ? {} : { MILLRACE_CRASH_AT: crashAt }),
          ...(pauseAt === undefined ? {} : { MILLRACE_PAUSE_AT: pauseAt }),
        },
        ready: { url: `http://127.0.0.1:${port}/readyz` },
      })
      started.push(process_)
      return { ...process_, url: `http://127.0.0.1:${port}` }
    },
    async ingest(table, body, { query = '', headers = {} } = {}) {
      const response = await request(`${url('ingest')}/v1/ingest/${table}${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', ...headers },
        body,
      })
      return { status: response.statusCode, body: (await response.body.json()) as Record<string, unknown> }
    },
    async eventually(text, until, withinMs = 60_000) {
      const deadline = performance.now() + withinMs
      let last: unknown
      for (;;) {
        try {
          last = await value(text)
          if (until(last)) return last
        } catch (error) {
          last = error
        }
        if (performance.now() > deadline)
          throw new Error(`not within ${withinMs} ms; last: ${String(last)}; asked: ${text}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async close() {
      await Promise.all(started.map((each) => each.kill()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
