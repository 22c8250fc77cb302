/** Log lines are JSON, whole, and without secrets. */
import { describe, expect, it } from 'vitest'
import { MillraceError } from '../schemas/errors.ts'
import { createLog } from './log.ts'

function collect(secrets: string[] = []) {
  const lines: Record<string, unknown>[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }
  return { lines, log: createLog({ stream, secrets, level: 'debug', fields: { service: 'ingest' } }) }
}

describe('the log', () => {
  it('hides secrets by key, at any depth, and by text, anywhere', () => {
    const { lines, log } = collect(['hunter22'])
    log.child({ authorization: 'Bearer x' }).info('connect as hunter22', {
      settings: { kafka: { password: 'p' } },
      url: 'http://u:hunter22@h',
      error: new Error('hunter22 refused'),
    })
    expect(JSON.stringify(lines)).not.toMatch(/hunter22|Bearer x|"p"/)
    expect(lines[0]).toMatchObject({
      level: 'info',
      service: 'ingest',
      message: 'connect as ******',
      authorization: '******',
    })
  })

  it('takes errors with cause and facts, bigints, bytes and cycles', () => {
    const { lines, log } = collect()
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const error = new MillraceError('commit-conflict', 'lost', { cause: new Error('inner'), facts: { version: 7n } })
    log.error('failed', { error, offset: 2n ** 60n, raw: new Uint8Array(3), cycle })
    expect(lines[0]).toMatchObject({
      error: { message: 'lost', code: 'commit-conflict', facts: { version: '7' }, cause: { message: 'inner' } },
      offset: '1152921504606846976',
      raw: '<3 bytes>',
    })
  })
})
