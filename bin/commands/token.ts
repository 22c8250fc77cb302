/**
 * `millrace token create`: a random bearer token and the settings that make the services accept it. Nothing is stored: the
 * text is shown once, and goes where the operator keeps secrets.
 */
import type { Command } from 'commander'
import { createToken } from '../../runtime/system-world.ts'

type TokenOptions = { readonly name: string; readonly rights: string; readonly tables?: string }

const RIGHTS = ['read', 'write', 'admin']

export function addTokenCommand(program: Command): void {
  const token = program.command('token').description('Make bearer tokens for the services.')
  token
    .command('create')
    .description('Print a new token and the settings for it.')
    .option('-n, --name <name>', 'name that the log shows', 'operator')
    .option('-r, --rights <list>', 'read, write, admin; separated by commas', 'admin')
    .option('-t, --tables <list>', 'only these tables, separated by commas')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace token create\n  millrace token create --name grafana --rights read --tables flights,airports',
    )
    .action((options: TokenOptions, command: Command) => {
      const rights = splitCommas(options.rights)
      const wrong = rights.find((each) => !RIGHTS.includes(each))
      if (wrong !== undefined || rights.length === 0)
        command.error(`error: --rights takes read, write and admin, found "${options.rights}"`)
      process.stdout.write(tokenText(options, rights, createToken()))
    })
}

function tokenText(options: TokenOptions, rights: readonly string[], secret: string): string {
  const variable = `MILLRACE_TOKEN_${options.name.replaceAll(/[^A-Za-z0-9]+/g, '_').toUpperCase()}`
  const tables = options.tables === undefined ? '' : `\n    tables: [${splitCommas(options.tables).join(', ')}]`
  return `${secret}

Keep it in a secret store, give it to the services as the variable ${variable}, and add to millrace.yaml:

tokens:
  - name: ${JSON.stringify(options.name)}
    token: \${env:${variable}}
    rights: [${rights.join(', ')}]${tables}

Clients send it as "Authorization: Bearer <token>"; millrace sql takes it as --token or MILLRACE_TOKEN.
`
}

function splitCommas(text: string): string[] {
  return text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}
