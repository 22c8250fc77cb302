/**
 * The demo's progress: one line that is written over on a terminal, a line every few seconds elsewhere.
 */
export type Progress = {
  update(rows: number, rowsTotal: number, freshnessMs: number | undefined): void
  end(): void
}

const PLAIN_EVERY_MS = 2000
const TERMINAL_EVERY_MS = 100

export function createProgress(out: NodeJS.WriteStream, monotonicMs: () => number, firstRow: number): Progress {
  const startedMs = monotonicMs()
  const everyMs = out.isTTY ? TERMINAL_EVERY_MS : PLAIN_EVERY_MS
  let shownMs = Number.NEGATIVE_INFINITY
  let last = ''

  const show = () => {
    if (last) out.write(out.isTTY ? `\r\u001b[2K${last}` : `${last}\n`)
    shownMs = monotonicMs()
  }
  return {
    update(rows, rowsTotal, freshnessMs) {
      const now = monotonicMs()
      const perSecond = ((rows - firstRow) * 1000) / Math.max(1, now - startedMs)
      last = progressLine(rows, rowsTotal, perSecond, freshnessMs)
      if (now - shownMs >= everyMs) show()
    },
    end() {
      show()
      if (out.isTTY) out.write('\n')
    },
  }
}

export function progressLine(
  rows: number,
  rowsTotal: number,
  perSecond: number,
  freshnessMs: number | undefined,
): string {
  const number = (value: number) => Math.round(value).toLocaleString('en-US')
  const fresh = freshnessMs === undefined ? '–' : `${(freshnessMs / 1000).toFixed(2)} s`
  const percent = Math.floor((100 * rows) / Math.max(1, rowsTotal))
  return `  ${number(rows)} of ${number(rowsTotal)} rows (${percent} %)   ${number(perSecond)} rows/s   freshness ${fresh}`
}
