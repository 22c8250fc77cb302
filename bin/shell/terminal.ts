/** Standard output and error as the shell's terminal. */
import { once } from 'node:events'
import type { ShellTerminal } from './session.ts'

const WIDTH_MIN = 20
const CLEAR = '\r\u001b[K'

export function processTerminal(isInteractive: boolean): ShellTerminal {
  const { stdout, stderr } = process
  let hasProgress = false
  return {
    isInteractive,
    async write(text) {
      if (!stdout.write(text)) await once(stdout, 'drain')
    },
    tell: (text) => void stderr.write(text),
    progress(text) {
      if (text === undefined && !hasProgress) return
      hasProgress = text !== undefined
      stderr.write(text === undefined ? CLEAR : CLEAR + text.slice(0, Math.max(WIDTH_MIN, stdout.columns ?? 80) - 1))
    },
    width: () => (stdout.isTTY && stdout.columns > 0 ? Math.max(WIDTH_MIN, stdout.columns) : undefined),
  }
}
