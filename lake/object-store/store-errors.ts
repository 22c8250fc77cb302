/** The answers of a store that callers act on, each naming the path. */
import { MillraceError } from '../../schemas/errors.ts'
import type { PutCondition } from './object-store.ts'

export function fileMissing(path: string, cause?: unknown): MillraceError {
  return new MillraceError('file-missing', `no object ${path}`, { cause, facts: { path } })
}

/** The file of this machine that was to become an object. */
export function sourceMissing(path: string, localFile: string, cause?: unknown): MillraceError {
  return new MillraceError('file-missing', `no local file ${localFile} to put as ${path}`, {
    cause,
    facts: { path, localFile },
  })
}

export function preconditionFailed(path: string, found: string, cause?: unknown): MillraceError {
  return new MillraceError('precondition-failed', `condition on ${path} does not hold: ${found}`, {
    cause,
    facts: { path },
  })
}

/** The outcome of a write is unknown after this one. */
export function storeUnavailable(path: string, what: string, cause?: unknown): MillraceError {
  return new MillraceError('store-unavailable', `object store did not serve ${path}: ${what}`, {
    cause,
    facts: { path },
  })
}

/** Both conditions at once can never hold; stores would differ in which one they name. */
export function checkCondition(path: string, condition: PutCondition): void {
  if (condition.ifNoneMatch === undefined || condition.ifMatch === undefined) return
  throw new MillraceError('request-invalid', `put of ${path} asks for ifNoneMatch and ifMatch at once`, {
    facts: { path },
  })
}
