/**
 * `--config` and `--set`, which every command takes that reads settings, and the same as arguments for a child process.
 */
import type { Command } from 'commander'
import { type LoadedSettings, loadSettingsWithOrigin } from '../../runtime/load-settings.ts'

export type SettingsOptions = { readonly config?: string; readonly set: readonly string[] }

export function withSettings(command: Command): Command {
  return command
    .option('-c, --config <file>', 'settings file (default: millrace.yaml of this folder, if it is there)')
    .option('-s, --set <path=value>', 'one setting, repeatable', (value, earlier: string[]) => [...earlier, value], [])
}

export function settingsOf(options: SettingsOptions): LoadedSettings {
  return loadSettingsWithOrigin({ file: options.config ?? process.env.MILLRACE_CONFIG, set: options.set })
}

/** For a child process that shall see the same settings. */
export function settingsArguments(options: SettingsOptions): string[] {
  return [
    ...(options.config === undefined ? [] : ['--config', options.config]),
    ...options.set.flatMap((each) => ['--set', each]),
  ]
}
