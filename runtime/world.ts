/**
 * What a process needs from the world, as parameters: `create…({ settings, components })`. The only file that reads
 * the wall clock or makes randomness is `runtime/system-world.ts`.
 */
export type Clock = {
  /** Microseconds since the Unix epoch, wall clock. */
  nowMicros(): bigint
  /** Milliseconds, monotonic; for durations only. */
  monotonicMs(): number
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export type Random = {
  /** Lower-case UUID v4. */
  uuid(): string
  /** Uniform in [0, 1). */
  float(): number
  /** Uniform positive integer < 2^53, for Iceberg snapshot ids. */
  id53(): number
}

export type LogFields = Record<string, unknown>

export type Log = {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Log
}

/**
 * A named spot next to a commit point. In production it does nothing; a test makes the process die (or throw) there:
 * environment `MILLRACE_CRASH_AT=ingest/after-segment-file[:n]` kills the process with SIGKILL on the n-th pass, and
 * `MILLRACE_PAUSE_AT` freezes it there with SIGSTOP.
 */
export type CrashPoint = (name: string) => void

export type World = {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly crashPoint: CrashPoint
}
