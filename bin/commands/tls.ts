/**
 * `millrace tls create`: a self-signed certificate and key, and the settings that make the listeners show it. An existing
 * file is never overwritten: clients may trust it.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { createCertificate } from '../../runtime/certificate.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld, randomSerial } from '../../runtime/system-world.ts'
import { MillraceError } from '../../schemas/errors.ts'

type TlsOptions = { readonly host: string[]; readonly folder: string; readonly days: string }

const HOST = /^[A-Za-z0-9_.:*-]{1,253}$/
const DAYS_MAX = 36_500

export function addTlsCommand(program: Command): void {
  const tls = program.command('tls').description('Make certificates for the services.')
  tls
    .command('create')
    .description('Write a self-signed certificate and its key, and print the settings for them.')
    .option(
      '-H, --host <name>',
      'host name or IP address it is for, repeatable; localhost is always in it',
      (value, earlier: string[]) => [...earlier, value],
      [],
    )
    .option('-f, --folder <folder>', 'where to write millrace-cert.pem and millrace-key.pem', '.')
    .option('-d, --days <number>', 'how long it is valid', '825')
    .addHelpText(
      'after',
      '\nExample:\n  millrace tls create --host lake.example --host 10.1.2.3 --folder /etc/millrace',
    )
    .action(create)
}

function create(options: TlsOptions, command: Command): void {
  const days = Number(options.days)
  if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
    command.error(`error: --days takes a whole number between 1 and ${DAYS_MAX}, found "${options.days}"`)
  }
  const wrong = options.host.find((host) => !HOST.test(host))
  if (wrong !== undefined) command.error(`error: --host takes a host name or IP address, found "${wrong}"`)

  const own = options.host.length > 0 ? options.host : [hostname()]
  const hosts = [...new Set([...own, 'localhost', '127.0.0.1', '::1'])]
  const cert = resolve(join(options.folder, 'millrace-cert.pem'))
  const key = resolve(join(options.folder, 'millrace-key.pem'))
  const existing = [cert, key].find((file) => existsSync(file))
  if (existing !== undefined) throw new MillraceError('already-exists', `${existing} exists; move it away first`)

  const { clock } = createSystemWorld({ log: createLog() })
  const made = createCertificate({ hosts, days, nowMs: Number(clock.nowMicros() / 1000n), serial: randomSerial() })
  mkdirSync(options.folder, { recursive: true })
  // The key first, and never readable by others, not even for a moment.
  writeFileSync(key, made.key, { mode: 0o600, flag: 'wx' })
  writeFileSync(cert, made.cert, { mode: 0o644, flag: 'wx' })
  process.stdout.write(`Wrote ${cert} and ${key}, for ${hosts.join(', ')}. Add to millrace.yaml:

tls:
  cert: ${cert}
  key: ${key}

Clients trust it with "curl --cacert ${cert}"; for other machines a token is needed as well: millrace token create
`)
}
