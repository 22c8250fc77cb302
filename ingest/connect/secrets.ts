/**
 * Reads what references of a connector's configuration point at, in the ingest process and when a task starts, and keeps
 * the texts so that they are never shown: `mask` puts the reference back wherever one of them would appear.
 *
 * Files only inside `connect.secrets.folders`, after every symbolic link was followed: a link that leads out is refused.
 * Errors (`settings-invalid`) name the reference and what is missing, never a value.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs'
import { sep } from 'node:path'
import type { Log, LogFields } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { referencesIn, type SecretReference } from './config/secret-references.ts'

export type Secrets = {
  /** A text with its references replaced. */
  reveal(text: string): string
  /** The same text with every secret read so far replaced by its reference. */
  mask(text: string): string
}

const FILE_BYTES_MAX = 64 * 1024
/** Shorter ones are part of too many harmless texts: `1` would make a trace unreadable. */
const MASKED_LENGTH_MIN = 3
const DEPTH_MAX = 6

export function createSecrets(options: {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute. */
  readonly folders: readonly string[]
}): Secrets {
  const { env, folders } = options
  /** Secret → its reference. */
  const known = new Map<string, string>()

  function read(reference: SecretReference): string {
    const value = reference.kind === 'env' ? env[reference.name] : readFile(reference)
    if (value === undefined || value === '') {
      throw missing(reference, reference.kind === 'env' ? 'that variable is not set' : `there is no such key`)
    }
    keep(value, reference.text)
    return value
  }

  function keep(value: string, reference: string): void {
    for (const form of [value, encodeURIComponent(value), Buffer.from(value).toString('base64')]) {
      if (form.length >= MASKED_LENGTH_MIN) known.set(form, reference)
    }
    for (const line of value.split('\n')) if (line.trim().length >= 8) known.set(line.trim(), reference)
  }

  function readFile(reference: SecretReference & { kind: 'file' }): string | undefined {
    if (folders.length === 0) {
      throw missing(reference, 'no folder is allowed; name one in connect.secrets.folders')
    }
    let path: string
    try {
      path = realpathSync(reference.path)
    } catch (error) {
      throw missing(reference, `it cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
    if (!folders.some((folder) => isInside(path, folder))) {
      throw missing(reference, 'it is outside connect.secrets.folders')
    }
    let text: string
    try {
      const found = statSync(path)
      // Opening a named pipe that nobody writes to would hold up the whole process.
      if (!found.isFile()) throw missing(reference, 'it is no file')
      const { size } = found
      if (size > FILE_BYTES_MAX) throw missing(reference, `it is larger than ${FILE_BYTES_MAX} bytes`)
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if (error instanceof MillraceError) throw error
      throw missing(reference, `it cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
    return reference.key === undefined ? text.replace(/[\r\n]+$/, '') : propertiesOf(text).get(reference.key)
  }

  function mask(text: string): string {
    let shown = text
    // The longest first: one secret may begin with another.
    for (const [secret, reference] of [...known].sort(([a], [b]) => b.length - a.length)) {
      shown = shown.replaceAll(secret, reference)
    }
    return shown
  }

  return {
    reveal(text) {
      let revealed = ''
      let rest = text
      // From left to right: what a secret holds is text, also where it looks like a reference.
      for (const reference of referencesIn(text)) {
        const at = rest.indexOf(reference.text)
        revealed += rest.slice(0, at) + read(reference)
        rest = rest.slice(at + reference.text.length)
      }
      revealed += rest
      // A user and a password together, as they are sent.
      if (revealed !== text) keep(revealed, text)
      return revealed
    },
    mask,
  }
}

/** A log that never shows them. */
export function maskedLog(log: Log, secrets: Pick<Secrets, 'mask'>): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: LogFields) =>
    log[level](secrets.mask(message), fields && (maskValue(fields, secrets, DEPTH_MAX) as LogFields))
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => maskedLog(log.child(maskValue(fields, secrets, DEPTH_MAX) as LogFields), secrets),
  }
}

function maskValue(value: unknown, secrets: Pick<Secrets, 'mask'>, depth: number): unknown {
  if (typeof value === 'string') return secrets.mask(value)
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value
  if (depth === 0) return '…'
  if (value instanceof Error) return maskedError(value, secrets, depth)
  if (Array.isArray(value)) return value.map((each) => maskValue(each, secrets, depth - 1))
  if (value instanceof Map || value instanceof Set) return maskValue([...value], secrets, depth)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, maskValue(each, secrets, depth - 1)]))
}

function maskedError(error: Error, secrets: Pick<Secrets, 'mask'>, depth: number): Error {
  const cause = error.cause === undefined ? undefined : maskValue(error.cause, secrets, depth - 1)
  const masked = new Error(secrets.mask(error.message), { cause })
  masked.name = error.name
  masked.stack = error.stack && secrets.mask(error.stack)
  for (const key of ['code', 'facts'] as const) {
    if (key in error) Object.assign(masked, { [key]: maskValue(Reflect.get(error, key), secrets, depth - 1) })
  }
  return masked
}

function isInside(path: string, folder: string): boolean {
  try {
    return path.startsWith(realpathSync(folder) + sep)
  } catch {
    return false
  }
}

function missing(reference: SecretReference, why: string): MillraceError {
  return new MillraceError('settings-invalid', `${reference.text}: ${why}`)
}

/** Java's format, as far as secrets need it: `key=value` or `key: value`, `#` and `!` for comments, `\` escapes. */
export function propertiesOf(text: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>()
  const joined = text.replaceAll(/\\\r?\n[ \t]*/g, '')
  for (const line of joined.split(/\r?\n/)) {
    const found = /^\s*((?:\\.|[^\\#!=:\s])(?:\\.|[^\\=:\s])*)\s*(?:[=:]\s*|\s+)?(.*)$/.exec(line)
    if (found) pairs.set(unescaped(found[1]), unescaped(found[2]))
  }
  return pairs
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f' }

function unescaped(text: string): string {
  return text.replaceAll(/\\(?:u([0-9a-fA-F]{4})|(.))/g, (_, unicode?: string, plain?: string) =>
    unicode === undefined ? (ESCAPES[plain ?? ''] ?? plain ?? '') : String.fromCharCode(Number.parseInt(unicode, 16)),
  )
}
