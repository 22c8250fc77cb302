/** What every catalog promises about connectors: one suite, each database. Two catalogs are two processes. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import type { Catalog, PipelineStatusPart, Writer } from './catalog.ts'
import { type Connectors, TASK_SILENT_MS, type TaskReport } from './connectors.ts'
import { newTableOf } from './test-values.ts'

export type ConnectorsSetup = {
  readonly open: (world: TestWorld) => Promise<Catalog & Connectors & Pick<PipelineStatusPart, 'tellTask'>>
  readonly moveClock?: (ms: number) => Promise<void>
  readonly close: () => Promise<void>
}

const PROPERTIES = { 'connector.class': 'Millrace', topics: 'orders', name: 'a' }

export function describeConnectors(name: string, setup: () => Promise<ConnectorsSetup>): void {
  describe(`connectors: ${name}`, () => {
    let parts: ConnectorsSetup
    let world: TestWorld
    let one: Catalog & Connectors & Pick<PipelineStatusPart, 'tellTask'>
    let two: Catalog & Connectors
    let first: Writer
    let second: Writer

    beforeEach(async () => {
      parts = await setup()
      world = createTestWorld({ sleepAdvances: true })
      one = await parts.open(world)
      two = await parts.open(world)
      first = await one.registerWriter('ingest')
      second = await two.registerWriter('ingest')
    })
    afterEach(() => parts.close())

    async function advance(ms: number): Promise<void> {
      await world.advance(ms)
      await parts.moveClock?.(ms)
    }
    const report = (taskId: number, state: TaskReport['state'] = 'running'): TaskReport => ({
      connector: 'a',
      taskId,
      state,
      trace: state === 'failed' ? 'why' : undefined,
      partitions: [{ topic: 'orders', partition: taskId }],
      warnings: ['w'],
      generation: 1,
    })
    const claim = (catalog: Connectors, writer: Writer, tasksMax = 2) =>
      catalog.claimTask(writer, { connector: 'a', worker: `host:${writer.epoch}`, tasksMax })

    test('what one process makes, every other sees, and each change is told by a number', async () => {
      expect(await two.readConnectors()).toEqual({ change: 0, connectors: [], tasks: [] })
      const made = await one.createConnector('a', PROPERTIES, 'running')
      expect(made).toMatchObject({ name: 'a', properties: PROPERTIES, target: 'running', restarts: 0 })
      expect(await two.connectorChange()).toBe(1)
      expect((await two.readConnectors()).connectors).toEqual([made])
      await expect(two.createConnector('a', PROPERTIES, 'paused')).rejects.toMatchObject({ code: 'already-exists' })
      expect(await two.setConnectorTarget('a', 'paused')).toMatchObject({ target: 'paused', generation: 1 })
      expect((await one.readConnectors()).connectors).toMatchObject([{ target: 'paused' }])
      expect(await one.connectorChange()).toBeGreaterThan(1)
      expect(await one.setConnectorTarget('nothing', 'paused')).toBeUndefined()
      expect(await one.restartConnector('nothing', { connector: true, tasks: 'all' })).toBeUndefined()
    })

    test('of two that make the same connector at once one wins', async () => {
      const made = await Promise.allSettled([
        one.createConnector('a', PROPERTIES, 'running'),
        two.createConnector('a', { ...PROPERTIES, topics: 'others' }, 'running'),
      ])
      expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      expect((await one.readConnectors()).connectors).toHaveLength(1)
    })

    test('a changed configuration is another generation, the same one is not', async () => {
      const { connector, created } = await one.putConnector('a', PROPERTIES)
      expect(created).toBe(true)
      const same = await two.putConnector('a', Object.fromEntries(Object.entries(PROPERTIES).reverse()))
      expect(same).toEqual({ connector, created: false })
      const changed = await two.putConnector('a', { ...PROPERTIES, topics: 'x' })
      expect(changed.created).toBe(false)
      expect(changed.connector.generation).toBeGreaterThan(connector.generation)
      expect(changed.connector.properties.topics).toBe('x')
    })

    test('of two that change what they read, the second is told, and nothing is lost', async () => {
      const { generation } = await one.createConnector('a', PROPERTIES, 'running')
      await one.putConnector('a', { ...PROPERTIES, x: '1' }, generation)
      await expect(two.putConnector('a', { ...PROPERTIES, y: '1' }, generation)).rejects.toMatchObject({
        code: 'commit-conflict',
      })
      expect((await two.readConnectors()).connectors[0].properties).toEqual({ ...PROPERTIES, x: '1' })
    })

    test('deleted and made again, it is another generation and begins without tasks and topics', async () => {
      const { generation } = await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first)
      await one.noteTopics('a', ['orders'])
      expect(await two.deleteConnector('a')).toBe(true)
      expect(await two.deleteConnector('a')).toBe(false)
      const again = await two.createConnector('a', PROPERTIES, 'running')
      expect(again.generation).toBeGreaterThan(generation)
      expect((await one.readConnectors()).tasks).toEqual([])
      expect(await one.connectorTopics('a')).toEqual([])
    })

    test('tasks are claimed one a process, up to tasks.max, and given back', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      const mine = await claim(one, first)
      expect(mine).toMatchObject({ taskId: 0, worker: `host:${first.epoch}`, state: 'unassigned', isLive: true })
      expect(await claim(one, first)).toMatchObject({ taskId: 0 })
      expect(await claim(two, second)).toMatchObject({ taskId: 1 })
      const third = await one.registerWriter('ingest')
      expect(await claim(one, third)).toBeUndefined()
      await two.releaseTask(second, 'a')
      expect(await claim(one, third)).toMatchObject({ taskId: 1 })
      expect(await one.claimTask(first, { connector: 'nothing', worker: 'h', tasksMax: 1 })).toBeUndefined()
    })

    test('two that claim the last place at once: one gets it', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      const claimed = await Promise.all([claim(one, first, 1), claim(two, second, 1)])
      expect(claimed.filter((each) => each !== undefined)).toHaveLength(1)
      expect((await one.readConnectors()).tasks).toHaveLength(1)
    })

    test('a process that falls silent loses its task to another, and finds out when it comes back', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first, 1)
      await one.renewTasks(first, [report(0)])
      await advance(TASK_SILENT_MS - 1000)
      expect(await claim(two, second, 1)).toBeUndefined()
      expect(await one.renewTasks(first, [report(0)])).toHaveLength(1)
      await advance(TASK_SILENT_MS + 1000)
      expect((await two.readConnectors()).tasks).toMatchObject([{ isLive: false }])
      expect(await claim(two, second, 1)).toMatchObject({ taskId: 0, writerId: second.writerId })
      expect(await one.renewTasks(first, [report(0)])).toEqual([])
      expect((await one.readConnectors()).tasks).toMatchObject([{ writerId: second.writerId, isLive: true }])
    })

    test('the row of a dead process goes when one that lives renews its own', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first)
      await claim(two, second)
      await advance(TASK_SILENT_MS + 1000)
      await one.renewTasks(first, [report(0)])
      expect((await two.readConnectors()).tasks.map(({ taskId }) => taskId)).toEqual([0])
    })

    test('a fenced process has no task any more', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first, 1)
      await one.retireWriter(first)
      expect(await claim(two, second, 1)).toMatchObject({ taskId: 0, writerId: second.writerId })
    })

    test('what a task does is seen by all; a restart is counted for those that were meant', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first)
      await claim(two, second)
      await one.renewTasks(first, [report(0)])
      await two.renewTasks(second, [report(1, 'failed')])
      expect((await one.readConnectors()).tasks).toMatchObject([
        {
          taskId: 0,
          state: 'running',
          partitions: [{ topic: 'orders', partition: 0 }],
          warnings: ['w'],
          generation: 1,
        },
        { taskId: 1, state: 'failed', trace: 'why' },
      ])
      await one.restartConnector('a', { connector: false, tasks: 'failed' })
      expect((await two.readConnectors()).tasks).toMatchObject([
        { state: 'running', restarts: 0 },
        { state: 'restarting', restarts: 1 },
      ])
      await one.restartConnector('a', { connector: true, tasks: 'all' })
      await one.restartConnector('a', { connector: false, tasks: 0 })
      const { connectors, tasks } = await two.readConnectors()
      expect(connectors).toMatchObject([{ restarts: 1 }])
      expect(tasks.map(({ restarts }) => restarts)).toEqual([2, 2])
    })

    test('a stopped connector gives out no tasks; with fewer tasks.max, those beyond go', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first)
      await claim(two, second)
      await one.releaseTask(first, 'a')
      expect(await claim(one, first, 1)).toMatchObject({ taskId: 0 })
      expect((await one.readConnectors()).tasks.map(({ taskId }) => taskId)).toEqual([0])
      await one.releaseTask(first, 'a')
      await one.setConnectorTarget('a', 'stopped')
      expect(await claim(one, first)).toBeUndefined()
    })

    test('a deleted connector that never took a record stands in nobody’s way, once its task has ended', async () => {
      const { tableId } = await one.createTable(newTableOf('orders'))
      const bind = (pipeline: string) => two.bindPipeline(pipeline, [tableId], ['orders'])
      await one.createConnector('a', PROPERTIES, 'running')
      await claim(one, first)
      await one.tellTask(first, 'a', 'running')
      await bind('a')
      await expect(bind('b')).rejects.toMatchObject({ code: 'settings-invalid' })
      await one.deleteConnector('a')
      await expect(bind('b')).rejects.toMatchObject({ code: 'settings-invalid' })
      await one.tellTask(first, 'a', undefined)
      await one.releaseTask(first, 'a')
      await bind('b')
      await one.createConnector('a', PROPERTIES, 'stopped')
      await expect(bind('a')).rejects.toMatchObject({ code: 'settings-invalid' })
      await one.createConnector('b', PROPERTIES, 'stopped')
      await one.deleteConnector('b')
      await bind('a')
    })

    test('topics that were used, until they are reset', async () => {
      await one.createConnector('a', PROPERTIES, 'running')
      await one.noteTopics('a', ['b', 'a'])
      await two.noteTopics('a', ['b', 'c'])
      await two.noteTopics('nothing', ['b'])
      expect(await one.connectorTopics('a')).toEqual(['a', 'b', 'c'])
      await one.resetTopics('a')
      expect(await two.connectorTopics('a')).toEqual([])
      expect((await two.readConnectors()).connectors).toMatchObject([{ topicsReset: 1 }])
      expect(await two.connectorTopics('nothing')).toEqual([])
    })
  })
}
