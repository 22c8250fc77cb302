/**
 * `millrace demo`: see `bin/demo/demo.ts`.
 */
import { type Command, InvalidArgumentError } from 'commander'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'

type Options = { readonly data: string; readonly rows: number; readonly kafka: boolean; readonly check: boolean }

const ROWS_MAX = 3_000_000

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('Stream three million real flights in, ask about them, and stay up for your own questions.')
    .option('--data <folder>', 'where the demo keeps its lake, catalog, settings and log', '.millrace/demo')
    .option('--rows <number>', `how many flights, at most ${ROWS_MAX}`, wholeNumber, ROWS_MAX)
    .option('--kafka', 'through a real Kafka broker that the demo starts (needs Java 17 and Maven)', false)
    .option('--check', 'compare the answers with bare DuckDB over the source file and end', false)
    .addHelpText(
      'after',
      '\nExamples:\n  millrace demo\n  millrace demo --kafka\n  millrace demo --rows 200000 --check --data /tmp/demo',
    )
    .action(async (options: Options) => {
      const { runDemo } = await import('../demo/demo.ts')
      const world = createSystemWorld({ log: createLog({ level: 'error', fields: { service: 'demo' }, secrets: [] }) })
      // Explicit: sockets of clients that are still open would keep the process for a while.
      process.exit(await runDemo({ ...options, folder: options.data }, world))
    })
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new InvalidArgumentError('expected a whole number above 0.')
}
