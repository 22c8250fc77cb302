/**
 * `postgres://user:password@host:port/database?sslmode=…` → how to connect. The address is taken apart here and not by the
 * client, so that nobody but this file sees it whole and no error repeats its password.
 *
 *   sslmode=disable       no TLS (what is done when nothing is said)
 *   sslmode=require       TLS, whoever the server is
 *   sslmode=verify-ca     TLS, its certificate signed by somebody trusted
 *   sslmode=verify-full   and made out for this host
 *   sslrootcert=/path     who is trusted, instead of what Node trusts
 *   host=/var/run/…       folder of a Unix socket, instead of the host before it
 *   application_name      how the server lists these connections
 */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { MillraceError } from '../../schemas/errors.ts'

export type PostgresAddress = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  readonly ssl: ConnectionOptions | false
  readonly applicationName: string
}

const PORT = 5432
const MODES = ['disable', 'require', 'verify-ca', 'verify-full']
const PARAMETERS = ['sslmode', 'sslrootcert', 'host', 'application_name']

export function isPostgresUrl(url: string): boolean {
  return /^postgres(ql)?:\/\//.test(url)
}

export function parsePostgresUrl(url: string): PostgresAddress {
  const parsed = URL.parse(url)
  if (!parsed || !isPostgresUrl(url)) throw refused('postgres://user:password@host:port/database', 'another text')
  const { searchParams } = parsed
  for (const name of searchParams.keys()) {
    if (!PARAMETERS.includes(name)) throw refused(`parameters ${PARAMETERS.join(', ')}`, `"${name}"`)
  }
  const database = decoded(parsed.pathname.slice(1))
  const user = decoded(parsed.username)
  if (database === '' || database.includes('/')) throw refused('the name of a database after the host', `"${database}"`)
  if (user === '') throw refused('the name of a user before the host', 'none')
  const host = searchParams.get('host') ?? parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    host: host === '' ? 'localhost' : host,
    port: parsed.port === '' ? PORT : Number(parsed.port),
    user,
    password: parsed.password === '' ? undefined : decoded(parsed.password),
    database,
    ssl: tlsOf(searchParams),
    applicationName: searchParams.get('application_name') ?? 'millrace',
  }
}

function tlsOf(parameters: URLSearchParams): ConnectionOptions | false {
  const mode = parameters.get('sslmode') ?? 'disable'
  if (!MODES.includes(mode)) throw refused(`sslmode of ${MODES.join(', ')}`, `"${mode}"`)
  if (mode === 'disable') return false
  const file = parameters.get('sslrootcert')
  const ca = file === null ? {} : { ca: readCertificate(file) }
  if (mode === 'require') return { ...ca, rejectUnauthorized: false }
  return mode === 'verify-ca' ? { ...ca, checkServerIdentity: () => undefined } : ca
}

function readCertificate(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw refused('sslrootcert to be a file that can be read', (cause as NodeJS.ErrnoException).code ?? 'an error')
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw refused('characters such as % in names and passwords to be written as %25', 'a lone %')
  }
}

function refused(expected: string, found: string): MillraceError {
  return new MillraceError('settings-invalid', `catalog.url: expected ${expected}, found ${found}`)
}
