/**
 * A self-signed X.509 certificate (ECDSA P-256, SHA-256) for listeners beyond loopback, made with node:crypto and a few
 * lines of DER, since a machine may have no openssl. Source: RFC 5280 for the structure, X.690 for DER.
 *
 *   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature BIT STRING }
 *   tbs         ::= SEQUENCE { [0] version 2, serial, algorithm, issuer, validity, subject, publicKeyInfo, [3] extensions }
 *
 * Every DER value is tag, length, content; a length from 128 on is 0x80 + number of bytes, then those bytes.
 * Issuer and subject are the same; clients trust the certificate itself (`--cacert`), so it is marked as an authority.
 */
import { generateKeyPairSync, sign } from 'node:crypto'
import { isIP, isIPv4 } from 'node:net'

export type CertificateOptions = {
  /** Host names and IP addresses that it is valid for; the first one is also its common name. */
  readonly hosts: readonly string[]
  readonly nowMs: number
  readonly days: number
  /** Big-endian, positive. */
  readonly serial: Uint8Array
}

/** PEM texts. */
export type CertificateAndKey = { readonly cert: string; readonly key: string }

const DAY_MS = 86_400_000
/** Clocks of clients may be behind ours. */
const BACKDATE_MS = 3_600_000

const SEQUENCE = 0x30
const SET = 0x31
const BOOLEAN_TRUE = der(0x01, Buffer.from([0xff]))
const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const

export function createCertificate(options: CertificateOptions): CertificateAndKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = der(SEQUENCE, oid(OID.ecdsaWithSha256))
  const name = nameOf(options.hosts[0])
  const tbs = der(
    SEQUENCE,
    der(0xa0, integer(Uint8Array.of(2))),
    integer(options.serial),
    algorithm,
    name,
    der(SEQUENCE, time(options.nowMs - BACKDATE_MS), time(options.nowMs + options.days * DAY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(SEQUENCE, ...extensions(options.hosts))),
  )
  const signature = sign('sha256', tbs, { key: privateKey, dsaEncoding: 'der' })
  const certificate = der(SEQUENCE, tbs, algorithm, bitString(signature, 0))
  return { cert: pem('CERTIFICATE', certificate), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function extensions(hosts: readonly string[]): Buffer[] {
  const names = hosts.map((host) =>
    isIP(host) === 0 ? der(0x82, Buffer.from(host, 'latin1')) : der(0x87, Buffer.from(addressBytes(host))),
  )
  return [
    extension(OID.basicConstraints, true, der(SEQUENCE, BOOLEAN_TRUE)),
    // Bits from the left: digitalSignature (0) and keyCertSign (5).
    extension(OID.keyUsage, true, bitString(Buffer.from([0b1000_0100]), 2)),
    extension(OID.extendedKeyUsage, false, der(SEQUENCE, oid(OID.serverAuth))),
    extension(OID.subjectAltName, false, der(SEQUENCE, ...names)),
  ]
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return der(SEQUENCE, oid(id), ...(critical ? [BOOLEAN_TRUE] : []), der(0x04, value))
}

/** X.520 allows 64 characters in a common name; clients look at the alternative names only. */
function nameOf(commonName: string): Buffer {
  const text = der(0x0c, Buffer.from(commonName.slice(0, 64), 'utf8'))
  return der(SEQUENCE, der(SET, der(SEQUENCE, oid(OID.commonName), text)))
}

/** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5). */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  return Number(digits.slice(0, 4)) < 2050
    ? der(0x17, Buffer.from(digits.slice(2), 'latin1'))
    : der(0x18, Buffer.from(digits, 'latin1'))
}

function addressBytes(address: string): number[] {
  if (isIPv4(address)) return address.split('.').map(Number)
  const tail = /(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const text = tail ? address.replace(tail[1], ipv4Groups(tail[1])) : address
  const [head, rest] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = rest === undefined || rest === '' ? [] : rest.split(':')
  const zeros = rest === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...new Array<string>(zeros).fill('0'), ...right].map((group) => Number.parseInt(group, 16))
  return groups.flatMap((group) => [group >> 8, group & 0xff])
}

function ipv4Groups(address: string): string {
  const [a, b, c, d] = address.split('.').map(Number)
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  if (content.length < 128) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>>= 8) length.unshift(rest & 0xff)
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), content])
}

function integer(bytes: Uint8Array): Buffer {
  return der(0x02, bytes[0] & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}

function bitString(bytes: Uint8Array, unusedBits: number): Buffer {
  return der(0x03, Buffer.from([unusedBits]), bytes)
}

/** First two numbers share a byte; the others are base 128, high bit set on all but the last byte. */
function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const number of rest) {
    const digits = [number & 0x7f]
    for (let left = number >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
    bytes.push(...digits)
  }
  return der(0x06, Buffer.from(bytes))
}

function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
