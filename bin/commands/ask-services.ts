/**
 * What commands for operators ask of running services: rows of a statement, or an answer to a request. Errors are those of the
 * service, in its words.
 */
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { postJson, serviceTarget } from './service-target.ts'
import { type SettingsOptions, settingsOf } from './settings-options.ts'

export type AskOptions = SettingsOptions & {
  readonly url?: string
  readonly queryUrl?: string
  readonly token?: string
}

export type AnswerRows = {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

/** All rows of a statement of ours, from the query service; 64-bit integers are texts. */
export async function askRows(sql: string, options: AskOptions): Promise<AnswerRows> {
  const given = options.queryUrl ?? process.env.MILLRACE_URL
  const target = await serviceTarget('query', given, () => settingsOf(options).settings)
  const reply = await postJson('query', target, '/v1/sql', tokenOf(options), { sql, format: 'json' })
  const { columns, data } = answerOf<{ columns: AnswerRows['columns']; data: readonly (readonly unknown[])[] }>(
    reply.statusCode,
    await reply.body.text(),
  )
  return {
    columns,
    rows: data.map((row) => Object.fromEntries(columns.map(({ name }, index) => [name, row[index]]))),
  }
}

/** An answer of the ingest service. */
export async function askIngest<T>(path: string, body: unknown, options: AskOptions): Promise<T> {
  const target = await serviceTarget('ingest', options.url, () => settingsOf(options).settings)
  const reply = await postJson('ingest', target, path, tokenOf(options), body)
  return answerOf<T>(reply.statusCode, await reply.body.text())
}

function tokenOf(options: AskOptions): string | undefined {
  return options.token ?? process.env.MILLRACE_TOKEN
}

function answerOf<T>(status: number, text: string): T {
  let answer: { error?: { message?: string } }
  try {
    answer = JSON.parse(text) as typeof answer
  } catch (cause) {
    // Not from Millrace: some proxy on the way.
    throw new MillraceError('request-invalid', `answered ${status}: ${text.slice(0, 500)}`, { cause })
  }
  if (status === 200) return answer as T
  throw new MillraceError('request-invalid', answer.error?.message ?? `answered ${status}: ${text.slice(0, 500)}`)
}

/** Runs an action; what it throws is told on standard error, and ends with this exit code. */
export async function orExit(code: number, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isMillraceError(error)) throw error
    process.stderr.write(`millrace: ${error.message}\n`)
    process.exitCode = code
  }
}
