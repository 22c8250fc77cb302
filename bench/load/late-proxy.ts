/**
 * A proxy whose requests come 100 ± 300 ms late (normally distributed, at least 0), another delay every 20 ms: what a bucket
 * far away is like on a bad day. Of several requests at once each has its own connection, and its own delay.
 */
import { type SlowProxy, startSlowProxy } from '../../test/harness/slow-proxy.ts'

const MEAN_MS = 100
const DEVIATION_MS = 300
const CHANGE_MS = 20

export async function startLateProxy(port: number): Promise<SlowProxy> {
  const proxy = await startSlowProxy({ port })
  const changing = setInterval(() => proxy.set({ requestDelayMs: lateness() }), CHANGE_MS)
  return {
    ...proxy,
    async close() {
      clearInterval(changing)
      await proxy.close()
    },
  }
}

function lateness(): number {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())
  return Math.max(0, MEAN_MS + DEVIATION_MS * normal)
}
