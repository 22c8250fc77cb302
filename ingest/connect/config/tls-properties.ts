/**
 * `ssl.*` properties, of the consumer and of a registry's client, for stores in PEM. Java's own key stores (JKS, PKCS12) are
 * refused by name with how to turn one into PEM.
 */
import type { TlsConfig } from './connector-config.ts'
import type { Findings } from './findings.ts'

const NOT_PEM =
  'expected PEM: Java key stores are not read; "keytool -importkeystore … -deststoretype PKCS12" and "openssl pkcs12 -in … -out ….pem -nodes" make one'

/** Ours to decide, or Java's alone. */
const REFUSED = [
  'ssl.provider',
  'ssl.cipher.suites',
  'ssl.enabled.protocols',
  'ssl.protocol',
  'ssl.keymanager.algorithm',
  'ssl.trustmanager.algorithm',
  'ssl.secure.random.implementation',
  'ssl.engine.factory.class',
  'ssl.truststore.password',
  'ssl.keystore.password',
] as const

export function readTls(findings: Findings, prefix: string): TlsConfig {
  const read = (name: string) => findings.read(`${prefix}${name}`)
  for (const store of ['truststore', 'keystore'] as const) {
    const type = read(`ssl.${store}.type`)
    if (type !== undefined && type.trim().toUpperCase() !== 'PEM') {
      findings.invalid(`${prefix}ssl.${store}.type`, NOT_PEM)
    }
    const location = findings.read(`${prefix}ssl.${store}.location`)
    if (location !== undefined && type === undefined) {
      findings.error(`${prefix}ssl.${store}.type`, `expected PEM beside ssl.${store}.location, found nothing`)
    }
    if (location !== undefined && !location.startsWith('/')) {
      findings.invalid(`${prefix}ssl.${store}.location`, 'expected an absolute path')
    }
  }
  for (const name of REFUSED) {
    if (read(name) === undefined) continue
    findings.error(`${prefix}${name}`, `${prefix}${name} cannot be honoured; take it away`)
  }
  const check = read('ssl.endpoint.identification.algorithm')
  if (check !== undefined && check.trim() !== '' && check.trim().toLowerCase() !== 'https') {
    findings.invalid(`${prefix}ssl.endpoint.identification.algorithm`, 'expected https, or nothing')
  }
  const key = read('ssl.keystore.key')
  const keyFile = read('ssl.keystore.location')
  const cert = read('ssl.keystore.certificate.chain')
  if ((key === undefined) !== (cert === undefined)) {
    const missing = key === undefined ? 'ssl.keystore.key' : 'ssl.keystore.certificate.chain'
    findings.error(`${prefix}${missing}`, 'ssl.keystore.key and ssl.keystore.certificate.chain go together')
  }
  return withoutUndefined({
    caFile: read('ssl.truststore.location'),
    ca: read('ssl.truststore.certificates'),
    certFile: keyFile,
    cert,
    key,
    keyPassword: read('ssl.key.password'),
    checkName: check === undefined ? undefined : check.trim() !== '',
  })
}

function withoutUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}
