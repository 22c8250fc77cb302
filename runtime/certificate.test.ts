/** The certificate is what TLS itself accepts, for the names and addresses it was made for and no others. */
import { X509Certificate } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { createCertificate } from './certificate.ts'

const nowMs = Date.parse('2026-06-01T00:00:00Z')
const serial = Uint8Array.of(0x7f, 2, 3)
const hosts = ['lake.example', '10.1.2.3', '2001:db8::7', '::ffff:1.2.3.4', 'localhost', '127.0.0.1']

describe('a certificate of our own', () => {
  it('says what it was asked to say', () => {
    const certificate = new X509Certificate(createCertificate({ hosts, nowMs, days: 365, serial }).cert)
    expect(certificate.subject).toBe('CN=lake.example')
    expect(certificate.serialNumber).toBe('7F0203')
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(new Date(certificate.validFrom).toISOString()).toBe('2026-05-31T23:00:00.000Z')
    expect(new Date(certificate.validTo).toISOString()).toBe('2027-06-01T00:00:00.000Z')
    expect(certificate.ca).toBe(true)
    expect(certificate.checkHost('lake.example')).toBe('lake.example')
    expect(certificate.checkHost('other.example')).toBeUndefined()
    expect(certificate.checkIP('10.1.2.3')).toBe('10.1.2.3')
    expect(certificate.checkIP('2001:db8::7')).toBe('2001:db8::7')
    expect(certificate.checkIP('10.1.2.4')).toBeUndefined()
  })

  it('writes years from 2050 on in four digits', () => {
    const certificate = new X509Certificate(createCertificate({ hosts, nowMs, days: 36_500, serial }).cert)
    expect(new Date(certificate.validTo).getUTCFullYear()).toBe(2126)
  })

  it('carries a TLS connection that the client verifies', async () => {
    const { cert, key } = createCertificate({
      hosts,
      nowMs: Date.parse(new Date(0).toISOString()),
      days: 36_500,
      serial,
    })
    const server = createServer({ cert, key }, (socket) => socket.end('hello'))
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      const talk = (servername: string, ca: string | undefined) =>
        new Promise<string>((resolve, reject) => {
          const socket: TLSSocket = connect({ host: '127.0.0.1', port, servername, ca }, () => {})
          socket.once('data', (data) => resolve(data.toString()))
          socket.once('error', reject)
        })
      expect(await talk('lake.example', cert)).toBe('hello')
      await expect(talk('other.example', cert)).rejects.toThrow(/altnames/)
      await expect(talk('lake.example', undefined)).rejects.toThrow(/self-signed/)
    } finally {
      server.close()
    }
  })
})
