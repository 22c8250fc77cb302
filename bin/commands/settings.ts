/**
 * `millrace settings schema | show | reference`: the JSON Schema for editors, the settings in force with where each comes
 * from, and the reference page.
 */
import type { Command } from 'commander'
import { MASK } from '../../runtime/log.ts'
import { settingsJsonSchema, settingsReference } from '../../schemas/settings-export.ts'
import { withoutPassword } from '../../schemas/url-password.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

export function addSettingsCommand(program: Command): void {
  const settings = program.command('settings').description('Show settings, their JSON Schema and their reference.')
  settings
    .command('schema')
    .description('Print the JSON Schema of millrace.yaml, for editors.')
    .addHelpText('after', '\nExample:\n  millrace settings schema > millrace.schema.json')
    .action(() => void process.stdout.write(`${JSON.stringify(settingsJsonSchema(), null, 2)}\n`))
  settings
    .command('reference')
    .description('Print every setting with its meaning and default, as Markdown.')
    .addHelpText('after', '\nExample:\n  millrace settings reference > settings.md')
    .action(() => void process.stdout.write(settingsReference()))
  withSettings(settings.command('show').description('Print the settings in force as JSON; secrets are masked.'))
    .addHelpText('after', '\nExample:\n  millrace settings show --set flush.bytes="1 MiB"')
    .action((options: SettingsOptions) => {
      const loaded = settingsOf(options)
      const secretTexts = new Set(loaded.secrets)
      const masked = (text: string) => (secretTexts.has(text) ? MASK : withoutPassword(text))
      const shown = JSON.stringify(
        { settings: loaded.settings, given: Object.fromEntries(loaded.given) },
        (_, value: unknown) => (typeof value === 'string' ? masked(value) : value),
        2,
      )
      process.stdout.write(`${shown}\n`)
    })
}
