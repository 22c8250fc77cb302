// The supervisor over a real catalog in memory and a clock of the test: what it starts, stops and tells, and that a task which
// fails is tried again with growing pauses and is FAILED only while it is.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type OpenedCatalog, openCatalog } from '../../lake/catalog/open-catalog.ts'
import { createHealth, type Health } from '../../runtime/health.ts'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import { createSupervisor, type RunningTask, type StartTask, type Supervisor } from './supervisor.ts'

let world: TestWorld
let catalog: OpenedCatalog
let health: Health
let supervisor: Supervisor
let happened: string[]
/** What keeps a connector from starting. */
let obstacle: Map<string, string>
let failNow: Map<string, (error: unknown) => void>
/** Starting waits for it. */
let gate: Promise<void> | undefined

const startTask: StartTask = async ({ name }, { isPaused, onFailed }) => {
  happened.push(`start ${name}${isPaused ? ' paused' : ''}`)
  if (name === 'slow') await gate
  const why = obstacle.get(name)
  if (why !== undefined) throw new Error(why)
  failNow.set(name, onFailed)
  const task: RunningTask = {
    pause: () => happened.push(`pause ${name}`),
    resume: () => happened.push(`resume ${name}`),
    partitions: () => [],
    takeTopics: () => [`topic-of-${name}`],
    warnings: () => [],
    failure: () => undefined,
    async stop() {
      happened.push(`stop ${name}`)
    },
  }
  return task
}

beforeEach(async () => {
  world = createTestWorld()
  catalog = await openCatalog({ url: 'sqlite::memory:', world })
  health = createHealth()
  happened = []
  obstacle = new Map()
  failNow = new Map()
  gate = undefined
  const writer = await catalog.registerWriter('ingest')
  supervisor = createSupervisor({
    catalog,
    writer,
    world,
    health,
    worker: () => 'here:1',
    tasksMaxOf: () => 1,
    startTask,
    traceOf: (_, error) => String(error),
    onState: async (name, state) => void happened.push(`told ${name} ${state}`),
  })
  supervisor.start()
})
afterEach(async () => {
  await supervisor.stop()
  await catalog.close()
})

/** Lets time pass in small steps, so that whoever waits for something short gets its turn. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    await world.advance(100)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const PROPERTIES = { 'connector.class': 'Millrace' }
const states = async () => (await catalog.readConnectors()).tasks.map(({ connector, state }) => `${connector} ${state}`)

test('what the catalog wants is done within a second, and told', async () => {
  await catalog.createConnector('a', PROPERTIES, 'running')
  await pass(1_000)
  expect(await states()).toEqual(['a running'])
  await catalog.setConnectorTarget('a', 'paused')
  await pass(1_000)
  expect(await states()).toEqual(['a paused'])
  await catalog.setConnectorTarget('a', 'running')
  await pass(1_000)
  await catalog.restartConnector('a', { connector: true, tasks: 'all' })
  await pass(1_000)
  await catalog.putConnector('a', { ...PROPERTIES, topics: 'x' })
  await pass(1_000)
  expect(await catalog.connectorTopics('a')).toEqual(['topic-of-a'])
  await catalog.setConnectorTarget('a', 'stopped')
  await pass(1_000)
  expect(await states()).toEqual([])
  expect(happened.filter((each) => !each.startsWith('told'))).toEqual([
    'start a',
    'pause a',
    'resume a',
    'stop a',
    'start a',
    'stop a',
    'start a',
    'stop a',
  ])
  expect(happened.filter((each) => each.startsWith('told')).at(-1)).toBe('told a undefined')
})

test('one that cannot start is FAILED with its reason, tried again ever more rarely, and heals by itself', async () => {
  obstacle.set('a', 'no such secret')
  await catalog.createConnector('a', PROPERTIES, 'running')
  await catalog.createConnector('b', PROPERTIES, 'running')
  await pass(1_000)
  expect(await states()).toEqual(['a failed', 'b running'])
  expect((await catalog.readConnectors()).tasks[0].trace).toBe('Error: no such secret')
  expect(health.report()).toMatchObject({ status: 'degraded', reasons: [{ component: 'connector a' }] })
  await pass(300_000)
  const starts = happened.filter((each) => each === 'start a').length
  // 1, 2, 4, … 60 s: about ten in five minutes, not six hundred.
  expect(starts).toBeGreaterThan(6)
  expect(starts).toBeLessThan(15)
  obstacle.clear()
  await pass(90_000)
  expect(await states()).toEqual(['a running', 'b running'])
  expect(health.report().status).toBe('healthy')
  expect(happened.filter((each) => each === 'start b')).toHaveLength(1)
})

test('a task that ends itself is FAILED, and a restart that is asked for does not wait', async () => {
  await catalog.createConnector('a', PROPERTIES, 'running')
  await pass(1_000)
  obstacle.set('a', 'bad record')
  failNow.get('a')?.(new Error('bad record'))
  await pass(30_000)
  expect(await states()).toEqual(['a failed'])
  obstacle.clear()
  await catalog.restartConnector('a', { connector: false, tasks: 'failed' })
  await pass(1_000)
  expect(await states()).toEqual(['a running'])
})

test('one that takes long to start holds up no other, and is stopped when it is there', async () => {
  let open = () => {}
  gate = new Promise((resolve) => {
    open = resolve
  })
  await catalog.createConnector('slow', PROPERTIES, 'running')
  await pass(500)
  await catalog.createConnector('b', PROPERTIES, 'running')
  await pass(1_000)
  expect(await states()).toEqual(['b running', 'slow restarting'])
  await catalog.deleteConnector('slow')
  await pass(1_000)
  open()
  await pass(3_000)
  expect(happened).toContain('stop slow')
  expect(await states()).toEqual(['b running'])
})

test('a task that another process took is given up without being given back', async () => {
  await catalog.createConnector('a', PROPERTIES, 'running')
  await pass(1_000)
  const other = await catalog.registerWriter('ingest')
  // As after having been frozen for long: its row went meanwhile.
  const [{ writerId, ...mine }] = (await catalog.readConnectors()).tasks
  await catalog.releaseTask({ writerId, epoch: 1, kind: 'ingest' }, 'a')
  await catalog.claimTask(other, { connector: 'a', worker: 'there:1', tasksMax: 1 })
  await pass(1_000)
  expect(mine.worker).toBe('here:1')
  expect(happened).toContain('stop a')
  expect((await catalog.readConnectors()).tasks).toMatchObject([{ writerId: other.writerId, worker: 'there:1' }])
})
