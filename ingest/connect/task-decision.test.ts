// What a process does about a connector, and that many processes which each decide for themselves come to what was wanted.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Connector, ConnectorTask } from '../../lake/catalog/connectors.ts'
import { decideTask, type OwnTask } from './task-decision.ts'

const CONNECTOR: Connector = {
  name: 'a',
  properties: {},
  target: 'running',
  generation: 3,
  restarts: 0,
  topicsReset: 0,
  createdAt: 0n,
  updatedAt: 0n,
}
const taskOf = (taskId: number, writerId: string, isLive = true, restarts = 0): ConnectorTask => ({
  connector: 'a',
  taskId,
  writerId,
  worker: writerId,
  state: 'running',
  trace: undefined,
  partitions: [],
  warnings: [],
  generation: 3,
  restarts,
  isLive,
  updatedAt: 0n,
})
const OWN: OwnTask = { taskId: 0, generation: 3, restarts: 0, isPaused: false, phase: 'running', retryAtMs: 0 }
const SEEN = { connector: CONNECTOR, tasksMax: 1, tasks: [taskOf(0, 'me')], writerId: 'me', own: OWN, nowMs: 100 }

test.each([
  ['nothing changed', {}, 'nothing'],
  ['it is gone', { connector: undefined }, 'lost'],
  ['its task is gone', { tasks: [] }, 'lost'],
  ['its task is another’s', { tasks: [taskOf(0, 'other')] }, 'lost'],
  ['it is stopped', { connector: { ...CONNECTOR, target: 'stopped' } }, 'stop'],
  ['fewer may take part', { own: { ...OWN, taskId: 1 }, tasks: [taskOf(1, 'me')] }, 'stop'],
  ['it was changed', { connector: { ...CONNECTOR, generation: 4 } }, 'start'],
  ['its task was restarted', { tasks: [taskOf(0, 'me', true, 1)] }, 'start'],
  ['it is paused', { connector: { ...CONNECTOR, target: 'paused' } }, 'pause'],
  ['it is resumed', { own: { ...OWN, isPaused: true } }, 'resume'],
  ['it failed, and it is not time', { own: { ...OWN, phase: 'failed', retryAtMs: 101 } }, 'nothing'],
  ['it failed, and it is time', { own: { ...OWN, phase: 'failed', retryAtMs: 100 } }, 'start'],
  ['it failed while paused', { own: { ...OWN, phase: 'failed', isPaused: true, retryAtMs: 101 } }, 'nothing'],
  ['it failed and was changed', { own: { ...OWN, phase: 'failed', retryAtMs: 101, generation: 2 } }, 'start'],
  ['nobody takes part', { own: undefined, tasks: [] }, 'claim'],
  ['another takes part, and that is enough', { own: undefined, tasks: [taskOf(0, 'other')] }, 'nothing'],
  ['another takes part, and there is room', { own: undefined, tasks: [taskOf(0, 'other')], tasksMax: 2 }, 'claim'],
  ['the other is dead', { own: undefined, tasks: [taskOf(0, 'other', false)] }, 'claim'],
  [
    'a paused one wants somebody too',
    { own: undefined, tasks: [], connector: { ...CONNECTOR, target: 'paused' } },
    'claim',
  ],
  [
    'a stopped one wants nobody',
    { own: undefined, tasks: [], connector: { ...CONNECTOR, target: 'stopped' } },
    'nothing',
  ],
  ['one that is not there wants nobody', { own: undefined, tasks: [], connector: undefined }, 'nothing'],
] as const)('%s', (_, change, decision) => {
  expect(decideTask({ ...SEEN, ...change })).toBe(decision)
})

// Processes come, die and wake up again; each looks now and then and does what it decides. When they are left alone, as many as
// may take part do, each with a task of its own and the newest configuration.
test('processes that decide for themselves settle', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('look' as const), who: fc.nat(3) }),
    fc.record({ kind: fc.constant('dies' as const), who: fc.nat(3) }),
    fc.record({ kind: fc.constant('changes' as const), tasksMax: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant('target' as const), target: fc.constantFrom('running', 'paused', 'stopped') }),
    fc.record({ kind: fc.constant('restart' as const) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const alive = new Set([0, 1, 2, 3])
      let tasks: ConnectorTask[] = []
      let connector = CONNECTOR
      let tasksMax = 2
      const owns = new Map<number, OwnTask>()

      function look(who: number): void {
        if (!alive.has(who)) return
        const writerId = String(who)
        const own = owns.get(who)
        switch (decideTask({ connector, tasksMax, tasks, writerId, own, nowMs: 0 })) {
          case 'claim': {
            tasks = tasks.filter((task) => task.isLive && task.taskId < tasksMax)
            const taskId = [0, 1, 2, 3].find((id) => !tasks.some((task) => task.taskId === id))!
            expect(taskId).toBeLessThan(tasksMax)
            tasks.push(taskOf(taskId, writerId))
            owns.set(who, { ...OWN, taskId, generation: connector.generation, isPaused: connector.target === 'paused' })
            break
          }
          case 'start': {
            const { restarts } = tasks.find((task) => task.writerId === writerId)!
            owns.set(who, {
              ...own!,
              generation: connector.generation,
              restarts,
              isPaused: connector.target === 'paused',
            })
            break
          }
          case 'pause':
          case 'resume':
            owns.set(who, { ...own!, isPaused: !own!.isPaused })
            break
          case 'stop':
            tasks = tasks.filter((task) => task.writerId !== writerId)
            owns.delete(who)
            break
          case 'lost':
            owns.delete(who)
            break
        }
      }

      for (const each of events) {
        if (each.kind === 'look') look(each.who)
        else if (each.kind === 'dies') {
          alive.delete(each.who)
          owns.delete(each.who)
          tasks = tasks.map((task) => (task.writerId === String(each.who) ? { ...task, isLive: false } : task))
        } else if (each.kind === 'changes') {
          tasksMax = each.tasksMax
          connector = { ...connector, generation: connector.generation + 1 }
        } else if (each.kind === 'target') connector = { ...connector, target: each.target as Connector['target'] }
        else tasks = tasks.map((task) => ({ ...task, restarts: task.restarts + 1 }))
      }
      for (let round = 0; round < 6; round += 1) for (const who of alive) look(who)

      const wanted = connector.target === 'stopped' ? 0 : Math.min(tasksMax, alive.size)
      expect(owns.size).toBe(wanted)
      const ids = [...owns.values()].map(({ taskId }) => taskId)
      expect(new Set(ids).size).toBe(ids.length)
      for (const own of owns.values()) {
        expect(own).toMatchObject({ generation: connector.generation, isPaused: connector.target === 'paused' })
      }
    }),
  )
})
