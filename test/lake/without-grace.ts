import type { Settings } from '../../schemas/settings.ts'

/** Settings in which removed files may go as soon as no reader's row needs them (PROTOCOL 6). */
export function withoutGrace(settings: Settings): Settings {
  return { ...settings, snapshot: { ...settings.snapshot, minAgeMs: 0 } }
}
