/**
 * Senders of rows over HTTP. Each has one request under way and sends it again, to this ingest process or another, until it
 * is answered: one that knows its producer's sequence goes on where it is told to, one with an idempotency key sends the
 * same key. Others send without either, once, and take what comes. What was answered "committed" must be there (G-4).
 */
import type { IngestAnswer } from '../../ingest/http-intake.ts'
import { asMillraceError } from '../../schemas/errors.ts'
import type { IngestDoors } from './ingest-process.ts'
import type { Lake } from './lake.ts'
import type { HttpRow } from './truth.ts'

export type HttpClient = { start(): void; stop(): void; isIdle(): boolean }

type Kind = 'producer' | 'key' | 'plain'
type Sent = {
  readonly rows: readonly HttpRow[]
  readonly sequence: number
  readonly requestId: number
  readonly ack: 'committed' | 'buffered'
}

const TEXT = new TextEncoder()
const PAUSE_MS = 1200
const ANSWER_MS = 2500
const ROWS_MAX = 4
const REQUESTS_PER_CLIENT = 10_000

export function createHttpClient(lake: Lake, index: number, doors: () => readonly IngestDoors[]): HttpClient {
  const { universe, model } = lake
  const { scheduler, faults } = universe
  const { random } = scheduler
  const name = `client-${index}`
  const draw = random.float()
  const kind: Kind = draw < 0.5 ? 'producer' : draw < 0.85 ? 'key' : 'plain'
  const producer = `producer-${index}`
  let next = 0
  /** Below this, answers said "committed". */
  let committedTo = 0
  let requests = 0
  let stopped = false
  let underWay: Sent | undefined

  function compose(): Sent {
    requests += 1
    const requestId = index * REQUESTS_PER_CLIENT + requests
    const count = 1 + Math.floor(random.float() * ROWS_MAX)
    const rows = Array.from({ length: count }, (_, i) =>
      kind === 'producer' ? model.truth.producerRow(producer, next + i) : model.truth.requestRow(requestId, i),
    )
    return { rows, sequence: next, requestId, ack: random.float() < 0.2 ? 'buffered' : 'committed' }
  }

  function again(delayMs: number): void {
    scheduler.after(delayMs, name, 'goes on', '', () => {
      if (underWay) send(underWay)
      else if (!stopped) {
        underWay = compose()
        send(underWay)
      }
    })
  }

  function done(): void {
    underWay = undefined
    if (!stopped) again(PAUSE_MS * random.float())
  }

  function send(sent: Sent): void {
    const open = doors()
    if (open.length === 0) {
      again(300)
      return
    }
    const { process, http, table } = open[Math.floor(random.float() * open.length)]
    let isHeard = false
    const hear = (what: string, act: () => void) => {
      if (isHeard) return
      isHeard = true
      scheduler.note(name, 'hears', what)
      act()
    }
    const giveUp = () => {
      // Without a key or a sequence another try might double the rows: a careful sender does not.
      if (kind === 'plain') done()
      else again(200 * random.float())
    }
    const isLost = faults.isOn() && random.float() < 0.06
    scheduler.after(ANSWER_MS, name, 'waits no longer', '', () => hear('nothing', giveUp))
    process.deliver(universe.latencyMs(), 'request', `${name} ${sent.sequence} ${sent.requestId}`, () => {
      http
        .take({
          table,
          rows: bodyOf(sent.rows),
          producer: kind === 'producer' ? { id: producer, sequence: BigInt(sent.sequence) } : undefined,
          idempotencyKey: kind === 'key' ? `key-${sent.requestId}` : undefined,
          onBadRow: 'dead-letter',
          ack: sent.ack,
        })
        .then(
          (answer) => reply(() => hear('its answer', () => answered(sent, answer))),
          (error: unknown) => reply(() => hear(asMillraceError(error).code, () => refused(error, giveUp))),
        )
    })
    const reply = (act: () => void) => {
      // An answer leaves only a living process.
      if (!process.isAlive()) return
      if (isLost) universe.tally('fault: connection lost')
      else process.deliver(universe.latencyMs(), 'response', name, act)
    }
  }

  function answered(sent: Sent, answer: IngestAnswer): void {
    universe.tally(answer.repeated ? 'http: answered as a repetition' : `http: answered ${sent.ack}`)
    const isCommitted = sent.ack === 'committed' || kind === 'key' || answer.repeated === true
    if (isCommitted) checkThere(sent, answer)
    if (kind === 'producer') {
      next = sent.sequence + sent.rows.length
      if (isCommitted) committedTo = Math.max(committedTo, next)
    }
    done()
  }

  function checkThere(sent: Sent, answer: IngestAnswer): void {
    const [main] = [...model.tables.values()].filter((table) => !table.isDeadLetters)
    const visible = answer.version === undefined ? undefined : main?.rowsAt[Number(answer.version)]
    for (const { text, isBad } of sent.rows) {
      const at = model.placeOfHttpRow(text)
      if (at === undefined) universe.violation('G-4', `${name}: row ${text} was answered committed and is not there`)
      else if (!isBad && visible !== undefined && at >= visible) {
        universe.violation(
          'G-4',
          `${name}: row ${text} was answered with version ${answer.version}, which is without it`,
        )
      }
    }
  }

  function refused(thrown: unknown, giveUp: () => void): void {
    const error = asMillraceError(thrown)
    universe.tally(`http: ${error.code}`)
    if (error.code !== 'sequence-gap') {
      giveUp()
      return
    }
    const expected = Number(error.facts.expected_sequence)
    if (expected < committedTo && !universe.shape.hasDaysPassing) {
      universe.violation('G-4', `${name}: asked for sequence ${expected}, ${committedTo} rows were answered committed`)
    }
    // Rows that were only buffered went with their process: it goes on from there.
    next = expected
    committedTo = Math.min(committedTo, next)
    done()
  }

  return {
    start: () => again(PAUSE_MS * random.float()),
    stop() {
      stopped = true
    },
    isIdle: () => stopped && underWay === undefined,
  }
}

function bodyOf(rows: readonly HttpRow[]) {
  const texts = rows.map(({ body }) => TEXT.encode(body))
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + text.length, 0))
  const starts = new Int32Array(rows.length)
  const ends = new Int32Array(rows.length)
  let at = 0
  texts.forEach((text, i) => {
    bytes.set(text, at)
    starts[i] = at
    at += text.length
    ends[i] = at
  })
  return { bytes, count: rows.length, starts, ends }
}
