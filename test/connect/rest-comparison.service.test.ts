// The same list of requests, good and bad, to a real Kafka Connect worker and to ours: the same status codes, content types,
// shapes of bodies and error texts, but for what `rest-differences.ts` lists with its reasons.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConnectWorker, startConnectWorker } from '../harness/connect-worker.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'
import { KEYS_BESIDE, MESSAGE_DIFFERENCES, SHAPE_DIFFERENCES, STATUS_DIFFERENCES } from './rest-differences.ts'
import { ask, RECORDS, type RestAnswer, restRequests } from './rest-requests.ts'

const THEIRS = { className: 'org.apache.kafka.connect.file.FileStreamSinkConnector', own: { file: '/dev/null' } }
const OURS = { className: 'io.millrace.connect.MillraceSinkConnector', own: {} }

let kafka: KafkaBroker
let worker: ConnectWorker
let millrace: Millrace
const answers = new Map<string, { theirs: RestAnswer; ours: RestAnswer }>()

beforeAll(async () => {
  kafka = await startKafka()
  await kafka.createTopic('orders', 2)
  const producer = await createProducer(kafka.bootstrap)
  const records = Array.from({ length: RECORDS }, (_, id) => ({ value: JSON.stringify({ id }) }))
  for (const partition of [0, 1]) await producer.send('orders', partition, records)
  producer.close()
  millrace = await createMillrace({ settings: `kafka.bootstrap: ["${kafka.bootstrap}"]` })
  const [started] = await Promise.all([startConnectWorker(kafka.bootstrap), millrace.start('ingest')])
  worker = started
  // A worker with much to do answers 500 to a question now and then.
  const theirs = await ask(worker.url, restRequests(THEIRS), { moody: true })
  const ours = await ask(millrace.url('ingest'), restRequests(OURS))
  for (const [index, each] of theirs.entries()) answers.set(each.name, { theirs: each, ours: ours[index] })
})

afterAll(async () => {
  await millrace?.close()
  await worker?.[Symbol.asyncDispose]()
  await kafka?.[Symbol.asyncDispose]()
})

/** Answers whose keys are names of somebody's choice. */
const IS_MAP = new Set(['config', 'changed config', 'loggers'])

const listed = (differences: readonly { requests: readonly string[] }[], name: string) =>
  differences.find(({ requests }) => requests.includes(name))

/** Keys and kinds of values; of a list its first item; of a map by names of somebody's choice only that it is one. */
function shapeOf(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    // Of definitions one that both have.
    const item = value.find((each: { name?: string } | null) => each?.name === 'topics') ?? value[0]
    return value.length === 0 ? [] : [shapeOf(item)]
  }
  if (value === null) return 'null'
  if (typeof value !== 'object') return typeof value
  if (key === 'config' || key === 'c1' || key === 'nothing') return 'map'
  const entries = Object.entries(value).filter(([each]) => !(each in KEYS_BESIDE))
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([each, inner]) => [each, shapeOf(inner, each)]),
  )
}

const messageOf = ({ body }: RestAnswer) => (body as { message?: unknown } | null)?.message

describe('a worker and we', () => {
  const names = restRequests(OURS).map(({ name }) => name)

  test('were asked the same', () => {
    expect([...answers.keys()]).toEqual(names)
    expect(names.length).toBeGreaterThan(100)
  })

  test.each(names)('%s', (name) => {
    const { theirs, ours } = answers.get(name)!
    const difference = STATUS_DIFFERENCES.find(({ requests }) => requests.includes(name))
    expect({ theirs: theirs.status, ours: ours.status }).toEqual(
      difference ? { theirs: difference.theirs, ours: difference.ours } : { theirs: ours.status, ours: theirs.status },
    )
    // Theirs says nothing of the content of some errors.
    if (theirs.contentType !== undefined) expect(ours.contentType).toBe(theirs.contentType)
    expect(ours.location === undefined).toBe(theirs.location === undefined)
    if (ours.status >= 400) {
      if (name !== 'unknown path') expect(ours.body).toEqual({ error_code: ours.status, message: expect.any(String) })
      if (difference || listed(MESSAGE_DIFFERENCES, name)) return
      expect(messageOf(ours)).toBe(messageOf(theirs))
      return
    }
    if (listed(SHAPE_DIFFERENCES, name)) return
    const key = IS_MAP.has(name) ? 'config' : ''
    expect(shapeOf(ours.body, key)).toEqual(shapeOf(theirs.body, key))
  })

  test('differ only where they are said to', () => {
    const known = [...STATUS_DIFFERENCES, ...MESSAGE_DIFFERENCES, ...SHAPE_DIFFERENCES].flatMap(
      ({ requests }) => requests,
    )
    expect(known.filter((name) => !names.includes(name))).toEqual([])
    // What is listed does differ: a list that is too long hides something.
    const same = MESSAGE_DIFFERENCES.flatMap(({ requests }) => requests).filter((name) => {
      const { theirs, ours } = answers.get(name)!
      return messageOf(theirs) === messageOf(ours)
    })
    expect(same).toEqual([])
  })
})
