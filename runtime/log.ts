/**
 * JSON log lines on stderr, one object a line, behind the `Log` of `world.ts`. Written by pino, synchronously: the last
 * lines before a crash are the ones that matter, and we log little ("quiet when all is well").
 *
 * Values under keys that name a secret are replaced, however deep they lie, and so is every text registered with
 * `keepSecret` (the secrets of the settings), wherever it appears in a line.
 */
import { type DestinationStream, destination, type Logger, pino } from 'pino'
import type { Log, LogFields } from './world.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type LogOptions = {
  readonly level?: LogLevel
  /** In every line. */
  readonly fields?: LogFields
  /** Texts that must never be printed. */
  readonly secrets?: readonly string[]
  /** Default: stderr. */
  readonly stream?: DestinationStream
}

export const MASK = '******'
const DEPTH_MAX = 6
const TEXT_MAX = 8192
/** Shorter texts are too likely to be part of something harmless. */
export const SECRET_LENGTH_MIN = 4
const SECRET_KEY = /password|passwd|secret|token|authorization|credential|cookie|private.?key|access.?key/i

/** Whose value is not for the eyes, as its name says. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key)
}

export function createLog(options: LogOptions = {}): Log {
  const secrets = (options.secrets ?? []).filter((secret) => secret.length >= SECRET_LENGTH_MIN)
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: { pid: process.pid },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.stream ?? destination({ dest: 2, sync: true }),
  )
  return wrap(options.fields ? logger.child(maskFields(options.fields, secrets)) : logger, secrets)
}

function wrap(logger: Logger, secrets: readonly string[]): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (!logger.isLevelEnabled(level)) return
    logger[level](fields ? maskFields(fields, secrets) : {}, maskText(message, secrets))
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(logger.child(maskFields(fields, secrets)), secrets),
  }
}

function maskFields(fields: LogFields, secrets: readonly string[]): LogFields {
  const shown: LogFields = {}
  for (const [key, value] of Object.entries(fields)) {
    shown[key] = SECRET_KEY.test(key) && typeof value === 'string' ? MASK : plain(value, secrets, DEPTH_MAX)
  }
  return shown
}

/** Anything → what JSON can hold: bigint as text, errors with their cause, cut at a depth and a length. */
function plain(value: unknown, secrets: readonly string[], depth: number): unknown {
  if (typeof value === 'string') return maskText(value, secrets)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return value
  if (depth === 0) return '…'
  if (value instanceof Error) {
    const { name, message, stack, cause } = value
    const code = 'code' in value ? value.code : undefined
    const facts = 'facts' in value ? value.facts : undefined
    return plain({ name, message, code, facts, stack, cause }, secrets, depth - 1)
  }
  if (value instanceof Uint8Array) return `<${value.length} bytes>`
  if (Array.isArray(value)) return value.slice(0, 100).map((each) => plain(each, secrets, depth - 1))
  if (value instanceof Map) return plain(Object.fromEntries(value), secrets, depth)
  if (value instanceof Set) return plain([...value], secrets, depth)
  const shown: Record<string, unknown> = {}
  for (const [key, each] of Object.entries(value)) {
    shown[key] = SECRET_KEY.test(key) && typeof each === 'string' ? MASK : plain(each, secrets, depth - 1)
  }
  return shown
}

function maskText(text: string, secrets: readonly string[]): string {
  let shown = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text
  for (const secret of secrets) shown = shown.replaceAll(secret, MASK)
  return shown
}
