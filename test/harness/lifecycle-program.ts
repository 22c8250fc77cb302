/**
 * A tiny service for the lifecycle's test, run as a process: it prints what happens. The argument says how it behaves:
 * `clean`, `slow` (a stop step that never ends), `throws` (a promise nobody waits for), `fails` (start rejects),
 * `crash` (passes a crash point three times).
 */
import { runService } from '../../runtime/lifecycle.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'

const behaviour = process.argv[2]
const world = createSystemWorld({ log: createLog() })
const say = (text: string) => void process.stdout.write(`${text}\n`)

await runService({
  name: 'tiny',
  settings: { shutdownMs: Number(process.argv[3] ?? 10_000) },
  world,
  async start(life) {
    life.onStop('first', async () => {
      await world.clock.sleep(1)
      say('stopped first')
    })
    life.onStop('second', async () => {
      say('stopping second')
      if (behaviour === 'slow') await new Promise(() => {})
    })
    if (behaviour === 'fails') throw new Error('cannot start')
    if (behaviour === 'throws') void Promise.reject(new Error('nobody waits'))
    if (behaviour === 'crash') {
      for (let pass = 1; pass <= 3; pass++) {
        say(`pass ${pass}`)
        world.crashPoint('tiny/spot')
      }
    }
    return 'http://127.0.0.1:1'
  },
})
