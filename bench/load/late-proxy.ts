/**
 * A proxy whose requests come 100 ± 300 ms late (normally distributed, at least 0), each with a delay of its own: what a bucket far
 * away is like on a bad day.
 */
import { type SlowProxy, startSlowProxy } from '../../test/harness/slow-proxy.ts'

const MEAN_MS = 100
const DEVIATION_MS = 300

export function startLateProxy(port: number): Promise<SlowProxy> {
  return startSlowProxy({ port }, { requestDelayMs: lateness })
}

function lateness(): number {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())
  return Math.max(0, MEAN_MS + DEVIATION_MS * normal)
}
