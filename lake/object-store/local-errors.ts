/** What a file system says → what a store says. Errors that are ours already pass through. */
import { MillraceError } from '../../schemas/errors.ts'
import { storeUnavailable } from './store-errors.ts'

const SETTINGS_FAULTS: Record<string, string> = {
  EACCES: 'no permission',
  EPERM: 'not permitted (no permission, or a file system without hard links)',
  EROFS: 'the file system is read-only',
  EXDEV: 'another file system is mounted inside the root; use a root of its own for it',
  ENOTSUP: 'the file system has no hard links',
}

const KEY_FAULTS: Record<string, string> = {
  ENOTDIR: 'a part of it is an object, not a folder',
  EEXIST: 'a part of it is an object, not a folder',
  EISDIR: 'it is a folder of other objects',
  ENAMETOOLONG: 'it is too long for the file system',
  ELOOP: 'it runs through a symbolic link',
}

export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

export function storeErrorOf(path: string, cause: unknown): unknown {
  const code = errorCode(cause)
  if (cause instanceof MillraceError || code === undefined) return cause
  if (code in SETTINGS_FAULTS) {
    return new MillraceError('settings-invalid', `cannot use ${path}: ${SETTINGS_FAULTS[code]}`, {
      cause,
      facts: { path, code },
    })
  }
  if (code in KEY_FAULTS) {
    return new MillraceError('request-invalid', `path ${path} cannot be an object here: ${KEY_FAULTS[code]}`, {
      cause,
      facts: { path, code },
    })
  }
  return storeUnavailable(path, cause instanceof Error ? cause.message : code, cause)
}
