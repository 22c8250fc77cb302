/**
 * The second half of `millrace check`: opens catalog and store as they are, lets `lake/check/` look, and prints what it
 * found: each finding one line, then what was looked at and what that cost; or all of it as one JSON object.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import type { CheckReport } from '../../lake/check/check-lake.ts'
import { checkLake } from '../../lake/check/check-lake.ts'
import { createOffsetCounter } from '../../lake/check/count-offsets.ts'
import { type Finding, formatFinding } from '../../lake/check/finding.ts'
import type { Progress } from '../../lake/check/verify-files.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { FILE_SCHEME, localFileOf } from '../../lake/object-store/object-path.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import { openLakeStore } from '../../lake/open-lake-store.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import { withoutPassword } from '../../schemas/url-password.ts'
import type { SettingsOptions } from './settings-options.ts'

export type CheckOptions = SettingsOptions & {
  readonly settingsOnly?: boolean
  readonly deep?: boolean
  readonly table?: string
  readonly json?: boolean
}

export const SOUND = 0
const FINDINGS = 1
const COULD_NOT_LOOK = 2

/** Nobody waits for a check: it lets the services go first. */
const BUSY_MS = 30_000
const ENGINE_MEMORY_BYTES = 512 * 1024 ** 2
const SPILL_TIMES_MEMORY = 16
const LAKE_FILE = /\/(?:segments\/[^/]+\.parquet|metadata\/[^/]+\.metadata\.json)$/
const FILES_LOOKED_AT_MAX = 5000
const STORE_ANSWERS_WITHIN_MS = 5000
const TERMINAL_STEP_MS = 200
const LINE_STEP_MS = 10_000

type Looked = { readonly report: CheckReport } | { readonly absent: string } | { readonly damaged: Finding }

/** The reader row is taken back before it ends. */
const INTERRUPTS = ['SIGINT', 'SIGTERM'] as const

/** @returns the exit code */
export async function printLakeCheck(request: {
  settings: Settings
  source: string
  secrets: readonly string[]
  options: CheckOptions
}): Promise<number> {
  const { settings, source, secrets, options } = request
  const world = createSystemWorld({ log: createLog({ level: 'error', fields: { service: 'check' }, secrets }) })
  const print = (text: string) => process.stdout.write(`${text}\n`)
  let looked: Looked
  try {
    looked = await look(settings, options, world)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    if (options.json) print(JSON.stringify({ settings: { sound: true, source }, lake: { error: error.message } }))
    process.stderr.write(`millrace: the lake could not be looked at: ${error.message}\n`)
    return COULD_NOT_LOOK
  }
  if (options.json) {
    print(JSON.stringify({ settings: { sound: true, source }, lake: jsonOf(looked) }))
  } else if ('absent' in looked) {
    print(`the lake was not looked at: ${looked.absent}`)
  } else if ('damaged' in looked) {
    print(formatFinding(looked.damaged))
  } else {
    for (const line of reportLines(looked.report)) print(line)
  }
  if ('absent' in looked) return SOUND
  return 'damaged' in looked || damageOf(looked.report).length > 0 ? FINDINGS : SOUND
}

async function look(settings: Settings, options: CheckOptions, world: World): Promise<Looked> {
  const interrupted = new AbortController()
  const interrupt = () => interrupted.abort(new MillraceError('shutting-down', 'interrupted'))
  const store = openLakeStore(settings, world)
  for (const signal of INTERRUPTS) process.once(signal, interrupt)
  try {
    const catalog = await openCatalog({ ...settings.catalog, world, asItIs: true, busyMs: BUSY_MS })
    const workFolder = join(settings.data, `check-${world.random.uuid()}`)
    const engine = options.deep ? checkEngine(settings, world, workFolder) : undefined
    try {
      const report = await checkLake(
        {
          catalog,
          store,
          world,
          settings: {
            lakeRoot: settings.lake.root,
            coldRoot: settings.storage.cold,
            sweepIntervalMs: settings.sweep.intervalMs,
            writerSilentMs: settings.sweep.writerSilentMs,
            readerSilentMs: settings.sweep.readerSilentMs,
          },
          offsetCounter: engine && createOffsetCounter({ engine, store, workFolder: join(workFolder, 'fetched') }),
          onProgress: progressPrinter(world),
          signal: interrupted.signal,
        },
        { deep: options.deep ?? false, table: options.table },
      )
      return { report }
    } finally {
      await engine?.close()
      await rm(workFolder, { recursive: true, force: true })
      await catalog.close()
    }
  } catch (error) {
    if (isMillraceError(error, 'not-found')) {
      const left = await fileOfALake(store, settings.lake.root, world)
      return left === undefined ? { absent: error.message } : { damaged: lostCatalog(settings, left) }
    }
    if (isMillraceError(error, 'file-damaged'))
      return { damaged: damagedCatalog(withoutPassword(settings.catalog.url), error.message) }
    throw error
  } finally {
    for (const signal of INTERRUPTS) process.off(signal, interrupt)
    await store.close()
  }
}

/** Among the first files under the root, one that only a lake has. A store that does not answer is no lake we could tell of. */
async function fileOfALake(store: ObjectStore, root: string, world: World): Promise<string | undefined> {
  const looking = (async () => {
    let seen = 0
    for await (const { path } of store.list(`${root}/`)) {
      if (LAKE_FILE.test(path)) return path
      seen += 1
      if (seen >= FILES_LOOKED_AT_MAX) break
    }
  })().catch(() => undefined)
  const answered = new AbortController()
  const waiting = world.clock.sleep(STORE_ANSWERS_WITHIN_MS, answered.signal).catch(() => undefined)
  try {
    return await Promise.race([looking, waiting.then(() => undefined)])
  } finally {
    answered.abort()
  }
}

function lostCatalog({ catalog, lake }: Settings, path: string): Finding {
  return {
    kind: 'missing',
    severity: 'damage',
    path: withoutPassword(catalog.url),
    what: 'catalog',
    table: undefined,
    referredBy: 'the settings',
    expected: `the catalog of the tables under ${lake.root}`,
    found: `no catalog, but ${path}`,
    advice:
      'before any service is started: restore it from a backup, or "millrace catalog rebuild" makes it from the bucket',
  }
}

/** Starts its process when the first rows are counted. */
function checkEngine(settings: Settings, world: World, workFolder: string): Engine {
  const { root } = settings.lake
  return createEngine({
    world,
    settings: {
      name: 'check',
      mode: 'query',
      memoryBytes: ENGINE_MEMORY_BYTES,
      threads: settings.compaction.threads,
      spillFolder: join(workFolder, 'spill'),
      spillBytes: ENGINE_MEMORY_BYTES * SPILL_TIMES_MEMORY,
      folders: [workFolder, ...(root.startsWith(FILE_SCHEME) ? [localFileOf(root)] : [])],
    },
  })
}

function damagedCatalog(url: string, message: string): Finding {
  return {
    kind: 'altered',
    severity: 'damage',
    path: url,
    what: 'catalog',
    table: undefined,
    referredBy: 'the settings',
    expected: 'a catalog',
    found: message,
    advice: 'stop the services, then restore it from a backup, or move it away, and run "millrace catalog rebuild"',
  }
}

function damageOf({ findings }: CheckReport): readonly Finding[] {
  return findings.filter(({ severity }) => severity === 'damage')
}

function jsonOf(looked: Looked): unknown {
  if ('absent' in looked) return { sound: true, absent: looked.absent, findings: [], notices: [] }
  if ('damaged' in looked) return { sound: false, findings: [looked.damaged], notices: [] }
  const { findings, ...rest } = looked.report
  const damage = damageOf(looked.report)
  const notices = findings.filter(({ severity }) => severity === 'notice')
  return { sound: damage.length === 0, findings: damage, notices, ...rest }
}

function reportLines(report: CheckReport): string[] {
  const { findings, tables, files, bytes, inFlight, waiting, unknown, deep, requests, seconds } = report
  const damage = damageOf(report).length
  const { list, get, head, bytesRead } = requests
  const verdict =
    damage === 0
      ? `the lake is sound${deep ? '' : ' as far as its metadata tells; --deep reads every byte'}`
      : `the lake is not sound: ${damage} ${damage === 1 ? 'finding' : 'findings'}`
  return [
    ...findings.map((finding) =>
      finding.severity === 'notice' ? `notice: ${formatFinding(finding)}` : formatFinding(finding),
    ),
    verdict,
    `  ${tables} tables; ${files} files, ${sizeText(bytes)}; of them ${inFlight} in flight, ${waiting} removed and waiting for readers or age`,
    ...(unknown === 0 ? [] : [`  ${unknown} files of which nothing can be said while metadata cannot be read`]),
    ...(deep ? [`  every byte of ${deep.proven} files proven, ${sizeText(deep.bytes)} read`] : []),
    ...(deep ? [`  source and offset counted in ${deep.rowsCounted} rows`] : []),
    ...(deep?.notCounted ?? []).map((why) => `  rows not counted: ${why}`),
    ...(deep && deep.unproven > 0
      ? [
          `  ${deep.unproven} files of an older release have no checksum: they could be read, which does not prove every byte`,
        ]
      : []),
    `  ${list + get + head} requests (${list} LIST, ${get} GET, ${head} HEAD), ${sizeText(bytesRead)} read, ${seconds.toFixed(1)} s`,
  ]
}

function sizeText(bytes: number): string {
  const steps = ['bytes', 'kB', 'MB', 'GB', 'TB']
  let step = 0
  let size = bytes
  while (size >= 1000 && step < steps.length - 1) {
    size /= 1000
    step += 1
  }
  return `${step === 0 ? size : size.toFixed(1)} ${steps[step]}`
}

/** On a terminal one line that changes; elsewhere a line now and then. */
function progressPrinter(world: Pick<World, 'clock'>): (progress: Progress) => void {
  const { isTTY } = process.stderr
  const stepMs = isTTY ? TERMINAL_STEP_MS : LINE_STEP_MS
  let lastMs = world.clock.monotonicMs()
  let shown = false
  return (progress) => {
    const isLast = progress.files === progress.filesTotal
    const nowMs = world.clock.monotonicMs()
    if (nowMs - lastMs < stepMs && !(isLast && shown)) return
    lastMs = nowMs
    shown = true
    const text = progressText(progress)
    process.stderr.write(isTTY ? `\r\x1b[K${text}${isLast ? '\n' : ''}` : `${text}\n`)
  }
}

export function progressText({ files, filesTotal, bytes, bytesTotal, seconds }: Progress): string {
  const rate = seconds > 0 ? bytes / seconds : 0
  const left = rate > 0 ? Math.max(0, Math.round((bytesTotal - bytes) / rate)) : undefined
  return [
    `${files} of ${filesTotal} files`,
    `${sizeText(bytes)} of ${sizeText(bytesTotal)}`,
    `${sizeText(Math.round(rate))}/s`,
    left === undefined ? 'begins' : `${left} s left`,
  ].join(', ')
}
