/**
 * Every error Millrace raises on purpose. The kind tells the receiver what to do; one table gives the HTTP status
 * and SQLSTATE of each code. Messages are free text: lower case, name the thing, what was expected and found.
 *
 *   conflict     somebody else was first: refresh and retry
 *   unavailable  back off and try again
 *   fenced       a newer holder exists: stop
 *   invalid      the caller must change something
 *   data         a record or file is not what it should be: quarantine
 *   internal     a bug of ours
 */
export type ErrorKind = 'conflict' | 'unavailable' | 'fenced' | 'invalid' | 'data' | 'internal'

export const ERRORS = {
  'catalog-busy': { kind: 'unavailable', status: 503, sqlstate: '57P03' },
  'commit-conflict': { kind: 'conflict', status: 409, sqlstate: '40001' },
  'already-exists': { kind: 'conflict', status: 409, sqlstate: '42P07' },
  'precondition-failed': { kind: 'conflict', status: 412, sqlstate: '40001' },
  'sequence-gap': { kind: 'conflict', status: 409, sqlstate: '22000' },
  'store-unavailable': { kind: 'unavailable', status: 503, sqlstate: '58030' },
  'broker-unavailable': { kind: 'unavailable', status: 503, sqlstate: '08006' },
  'registry-unavailable': { kind: 'unavailable', status: 503, sqlstate: '08006' },
  'shutting-down': { kind: 'unavailable', status: 503, sqlstate: '57P01' },
  overloaded: { kind: 'unavailable', status: 429, sqlstate: '53300' },
  'writer-fenced': { kind: 'fenced', status: 500, sqlstate: '57P01' },
  'lease-lost': { kind: 'fenced', status: 500, sqlstate: '57P01' },
  'catalog-older': { kind: 'fenced', status: 503, sqlstate: '57P01' },
  'format-too-new': { kind: 'fenced', status: 500, sqlstate: '0A000' },
  'format-too-old': { kind: 'invalid', status: 500, sqlstate: '0A000' },
  'settings-invalid': { kind: 'invalid', status: 400, sqlstate: 'F0000' },
  'request-invalid': { kind: 'invalid', status: 400, sqlstate: '22023' },
  'not-acceptable': { kind: 'invalid', status: 406, sqlstate: '0A000' },
  'method-not-allowed': { kind: 'invalid', status: 405, sqlstate: '0A000' },
  'row-invalid': { kind: 'invalid', status: 400, sqlstate: '22P02' },
  'request-too-large': { kind: 'invalid', status: 413, sqlstate: '54000' },
  unauthorized: { kind: 'invalid', status: 401, sqlstate: '28000' },
  forbidden: { kind: 'invalid', status: 403, sqlstate: '42501' },
  'not-found': { kind: 'invalid', status: 404, sqlstate: '02000' },
  'undefined-table': { kind: 'invalid', status: 404, sqlstate: '42P01' },
  'undefined-column': { kind: 'invalid', status: 400, sqlstate: '42703' },
  'undefined-function': { kind: 'invalid', status: 400, sqlstate: '42883' },
  'syntax-error': { kind: 'invalid', status: 400, sqlstate: '42601' },
  'statement-refused': { kind: 'invalid', status: 400, sqlstate: '0A000' },
  'query-invalid': { kind: 'invalid', status: 400, sqlstate: '42000' },
  'type-mismatch': { kind: 'invalid', status: 400, sqlstate: '42804' },
  'conversion-failed': { kind: 'invalid', status: 400, sqlstate: '22P02' },
  'value-out-of-range': { kind: 'invalid', status: 400, sqlstate: '22003' },
  'division-by-zero': { kind: 'invalid', status: 400, sqlstate: '22012' },
  'parameter-missing': { kind: 'invalid', status: 400, sqlstate: '08P01' },
  'query-cancelled': { kind: 'invalid', status: 499, sqlstate: '57014' },
  'query-timeout': { kind: 'invalid', status: 408, sqlstate: '57014' },
  'out-of-memory': { kind: 'invalid', status: 507, sqlstate: '53200' },
  'engine-lost': { kind: 'unavailable', status: 503, sqlstate: '57P02' },
  'file-missing': { kind: 'data', status: 500, sqlstate: '58P01' },
  'file-damaged': { kind: 'data', status: 500, sqlstate: 'XX001' },
  'file-schema-mismatch': { kind: 'data', status: 500, sqlstate: 'XX001' },
  'record-damaged': { kind: 'data', status: 500, sqlstate: 'XX001' },
  'needs-decision': { kind: 'data', status: 409, sqlstate: '55000' },
  'invariant-broken': { kind: 'internal', status: 500, sqlstate: 'XX000' },
  internal: { kind: 'internal', status: 500, sqlstate: 'XX000' },
} as const satisfies Record<string, { kind: ErrorKind; status: number; sqlstate: string }>

export type ErrorCode = keyof typeof ERRORS

/** The `class` of an error as every door shows it: its code, spelt with underscores. */
export function errorClass(code: ErrorCode): string {
  return code.replaceAll('-', '_')
}

export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly facts: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; facts?: Record<string, unknown> } = {}) {
    super(message, { cause: options.cause })
    this.name = 'MillraceError'
    this.code = code
    this.facts = options.facts ?? {}
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind
  }
  get status(): number {
    return ERRORS[this.code].status
  }
  get sqlstate(): string {
    return ERRORS[this.code].sqlstate
  }
}

export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code)
}

/** Anything thrown → the MillraceError to show; unknown things become `internal` with the cause kept. */
export function asMillraceError(error: unknown): MillraceError {
  if (error instanceof MillraceError) return error
  return new MillraceError('internal', error instanceof Error ? error.message : String(error), { cause: error })
}

/** A named invariant (STYLE: "invariants have names"). On the write path a broken one stops the process. */
export function invariant(name: string, holds: boolean, facts: Record<string, unknown>): asserts holds {
  if (!holds) throw new MillraceError('invariant-broken', `invariant ${name} broken`, { facts })
}
