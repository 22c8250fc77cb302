/**
 * The program behind `millrace.ts`. Each subcommand is a file in `commands/` that adds itself to it; heavy parts are imported
 * when a command runs, so that `--help` answers at once.
 *
 * Exit codes: 0 done, 1 it failed and said why, 2 the command line was wrong, 70 a bug.
 */
import { Command, CommanderError } from 'commander'
import { isMillraceError } from '../schemas/errors.ts'
import { addCatalogCommand } from './commands/catalog.ts'
import { addCheckCommand } from './commands/check.ts'
import { addColumnsCommand } from './commands/columns.ts'
import { addDeadLettersCommand } from './commands/dead-letters.ts'
import { addDecideCommand } from './commands/decide.ts'
import { addDemoCommand } from './commands/demo.ts'
import { addOffsetsCommand } from './commands/offsets.ts'
import { addReconcileCommand } from './commands/reconcile.ts'
import { addServiceCommands } from './commands/service.ts'
import { addSettingsCommand } from './commands/settings.ts'
import { addSqlCommand } from './commands/sql.ts'
import { addTestCommand } from './commands/test.ts'
import { addTlsCommand } from './commands/tls.ts'
import { addTokenCommand } from './commands/token.ts'
import { addUpCommand } from './commands/up.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 2

const program = new Command('millrace')
  .description('Kafka topics become Iceberg tables that answer SQL a second later.')
  .version('0.1.0')
  .showHelpAfterError('Add --help for what is possible.')
  .exitOverride()
  .addHelpText(
    'after',
    `
Examples:
  millrace demo                          stream three million flights in and query them
  millrace up                            run ingest, compactor and query with ./millrace.yaml
  millrace sql                           a shell; with a statement, the answer
  millrace check                         are millrace.yaml and the lake sound?`,
  )

addUpCommand(program)
addServiceCommands(program)
addSqlCommand(program)
addDemoCommand(program)
addCheckCommand(program)
addCatalogCommand(program)
addColumnsCommand(program)
addDecideCommand(program)
addDeadLettersCommand(program)
addOffsetsCommand(program)
addReconcileCommand(program)
addSettingsCommand(program)
addTlsCommand(program)
addTokenCommand(program)
addTestCommand(program)

// `millrace … | head` closes our output: that is no error, and does not turn one into none.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  throw error
})

for (const command of program.commands) inheritErrors(command)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version also end here, with exit code 0.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
  } else if (isMillraceError(error)) {
    process.stderr.write(`millrace: ${error.message}\n`)
    process.exitCode = EXIT_FAILED
  } else {
    throw error
  }
}

function inheritErrors(command: Command): void {
  command.exitOverride().showHelpAfterError('Add --help for what is possible.')
  for (const each of command.commands) inheritErrors(each)
}
