/**
 * No process that a test started may outlive the test run, not even when the run itself is killed with -9.
 *
 * One small shell per test process reads `add <group>` and `drop <group>` lines from a pipe. When the pipe ends, because
 * its writer ended in whatever way, it kills the process groups that are still on its list. It lives in a session of its
 * own, so a Ctrl-C in the terminal does not reach it. A normal exit kills the same groups from the exit hook already.
 */
import { type ChildProcess, spawn } from 'node:child_process'

const GUARD_SCRIPT = `
groups=""
while read -r verb group; do
  kept=""
  for known in $groups; do
    if [ "$known" != "$group" ]; then kept="$kept $known"; fi
  done
  groups="$kept"
  if [ "$verb" = add ]; then groups="$groups $group"; fi
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
exit 0
`

const guardedGroups = new Set<number>()
let guard: ChildProcess | undefined

export function guardProcessGroup(group: number): void {
  guardedGroups.add(group)
  if (guard === undefined) {
    guard = spawn('/bin/sh', ['-c', GUARD_SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    // Neither the guard nor its pipe keeps the test process alive.
    guard.unref()
    guard.stdin?.on('error', () => {})
    unrefStream(guard.stdin)
    process.once('exit', killGuardedGroups)
  }
  guard.stdin?.write(`add ${group}\n`)
}

/** After the group's leader was reaped and no member is left: the number may soon belong to somebody else. */
export function releaseProcessGroup(group: number): void {
  if (!guardedGroups.delete(group)) return
  guard?.stdin?.write(`drop ${group}\n`)
}

export function killProcessGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // Nobody left in it.
  }
}

function killGuardedGroups(): void {
  for (const group of guardedGroups) killProcessGroup(group)
}

function unrefStream(stream: unknown): void {
  if (typeof stream === 'object' && stream !== null && 'unref' in stream && typeof stream.unref === 'function') {
    stream.unref()
  }
}
