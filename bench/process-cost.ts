/**
 * What processes cost, as the kernel counts it: CPU seconds (user and system) of a process with all its descendants, its
 * largest resident memory, and how busy the whole machine was meanwhile. Read from /proc, so Linux only.
 *
 * A descendant that ended is counted in its parent's `cutime` and `cstime`, one that lives by its own line; so nothing
 * counts twice, and the engine process of a service counts with the service.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** USER_HZ: 100 on every Linux that Node supports. */
const TICKS_PER_SECOND = 100

type StatLine = { readonly pid: number; readonly parent: number; readonly user: number; readonly system: number }

export type MachineLoad = {
  readonly seconds: number
  /** CPU seconds of everything that ran, ours or not; `stolen`: the host gave them to somebody else. */
  readonly busy: number
  readonly stolen: number
  readonly cores: number
}

/** User and system seconds of these processes and their descendants since they started. */
export function cpuTimes(pids: readonly number[]): { readonly user: number; readonly system: number } {
  const lines = readStatLines()
  const wanted = withDescendants(pids, lines)
  let user = 0
  let system = 0
  for (const line of lines) {
    if (!wanted.has(line.pid)) continue
    user += line.user
    system += line.system
  }
  return { user: user / TICKS_PER_SECOND, system: system / TICKS_PER_SECOND }
}

export function cpuSeconds(pids: readonly number[]): number {
  const { user, system } = cpuTimes(pids)
  return user + system
}

/** Largest resident set so far of the process alone, in bytes (`VmHWM`). */
export function peakMemory(pid: number): number {
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (!found) throw new Error(`/proc/${pid}/status has no VmHWM`)
  return Number(found[1]) * 1024
}

/** The process and its descendants that live now, each with its own largest resident set, largest first. */
export function peakMemories(pid: number): number[] {
  return familyOf(pid)
    .map(peakMemory)
    .sort((a, b) => b - a)
}

/** The process and its descendants that live now. */
export function familyOf(pid: number): readonly number[] {
  return [...withDescendants([pid], readStatLines())]
}

/** Starts watching the machine; call the result to know what happened since. */
export function watchMachine(): () => MachineLoad {
  const before = readMachine()
  const started = process.hrtime.bigint()
  return () => {
    const now = readMachine()
    return {
      seconds: Number(process.hrtime.bigint() - started) / 1e9,
      busy: (now.busy - before.busy) / TICKS_PER_SECOND,
      stolen: (now.stolen - before.stolen) / TICKS_PER_SECOND,
      cores: availableParallelism(),
    }
  }
}

function readStatLines(): StatLine[] {
  const lines: StatLine[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // pid (comm) state ppid …; the command may hold spaces and brackets, so fields count from its last bracket.
      const text = readFileSync(`/proc/${name}/stat`, 'utf8')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      const [utime, stime, childUser, childSystem] = fields.slice(11, 15).map(Number)
      const pid = Number(name)
      lines.push({ pid, parent: Number(fields[1]), user: utime + childUser, system: stime + childSystem })
    } catch {
      // It ended between the listing and the read.
    }
  }
  return lines
}

function withDescendants(pids: readonly number[], lines: readonly StatLine[]): Set<number> {
  const wanted = new Set(pids)
  for (let size = 0; size !== wanted.size; ) {
    size = wanted.size
    for (const { pid, parent } of lines) if (wanted.has(parent)) wanted.add(pid)
  }
  return wanted
}

/** `cpu user nice system idle iowait irq softirq steal …`, in ticks of all cores together. */
function readMachine(): { busy: number; stolen: number } {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/).slice(1).map(Number)
  const [user, nice, system, , , irq, softirq, stolen = 0] = fields
  return { busy: user + nice + system + irq + softirq, stolen }
}
