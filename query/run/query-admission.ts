/** The admission queue of a query service, with its numbers for Prometheus. */
import type { Metrics } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import type { Settings } from '../../schemas/settings.ts'
import { type Admission, createAdmission } from './admission.ts'

export function createQueryAdmission(
  limits: Settings['query'],
  batchEngines: number,
  metrics: Metrics,
  world: World,
): Admission {
  const refusals = metrics.counter({
    name: 'queries_refused_total',
    help: 'Queries answered 429: the queue is full, or the part of it that one user may fill.',
    labels: ['reason'],
  })
  const admission = createAdmission({
    limits: { ...limits, batchConcurrentMax: batchEngines },
    monotonicMs: () => world.clock.monotonicMs(),
    refused: (reason) => refusals.add(1, { reason }),
  })
  metrics.gaugeOf({ name: 'queries_running', help: 'Queries that run, in all engines.' }, () => admission.running)
  metrics.gaugeOf({ name: 'queries_waiting', help: 'Queries that wait for a place.' }, () => admission.waiting)
  metrics.gaugeOf(
    { name: 'queries_running_batch', help: 'Of those that run, the ones in batch engines.' },
    () => admission.in('batch').running,
  )
  metrics.gaugeOf(
    { name: 'queries_waiting_batch', help: 'Of those that wait, the ones that wait for a batch engine.' },
    () => admission.in('batch').waiting,
  )
  return admission
}
