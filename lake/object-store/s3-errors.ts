/**
 * What an S3 server says → what a store says. Names come before statuses: a 400 may be a timeout, a 403 an expired token,
 * a 404 a missing bucket. No status at all means that the connection failed or ended: the outcome is unknown.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { fileMissing, preconditionFailed, storeUnavailable } from './store-errors.ts'

/** Heal by themselves, whatever their status. `NoSuchUpload`: an earlier answer was lost, or somebody aborted it. */
const PASSING = new Set([
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
  'RequestTimeout',
  'RequestTimeoutException',
  'InternalError',
  'ServiceUnavailable',
  'OperationAborted',
  'ExpiredToken',
  'ExpiredTokenException',
  'TokenRefreshRequired',
  'RequestTimeTooSkewed',
  'CredentialsProviderError',
  'BadDigest',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
  'NoSuchUpload',
])

export type S3Failure = { readonly name: string; readonly status: number | undefined; readonly message: string }

export function s3ErrorOf(path: string, cause: unknown): MillraceError {
  if (cause instanceof MillraceError) return cause
  const { name, status, message } = s3FailureOf(cause)
  const told = `${name}${status === undefined ? '' : ` (${status})`}${message === '' ? '' : `: ${message}`}`
  const facts = { path, name, status }

  if (name === 'PreconditionFailed' || name === 'ConditionalRequestConflict' || status === 412) {
    return preconditionFailed(path, told, cause)
  }
  if (PASSING.has(name)) return storeUnavailable(path, told, cause)
  if (name === 'NoSuchBucket' || name === 'InvalidBucketName') {
    return new MillraceError('settings-invalid', `the bucket of ${path} cannot be used: ${told}`, { cause, facts })
  }
  if (name === 'InvalidRange' || status === 416) {
    return new MillraceError('request-invalid', `the range lies past the end of ${path}`, { cause, facts })
  }
  if (status === undefined) return storeUnavailable(path, told, cause)
  if (status === 404) return fileMissing(path, cause)
  if (status === 401 || status === 403) {
    return new MillraceError('settings-invalid', `the credentials do not allow this on ${path}: ${told}`, {
      cause,
      facts,
    })
  }
  if (status === 501 || (status >= 300 && status < 400)) {
    return new MillraceError('settings-invalid', `endpoint, region or server do not fit for ${path}: ${told}`, {
      cause,
      facts,
    })
  }
  if (status === 408 || status === 429 || status >= 500 || status < 300) return storeUnavailable(path, told, cause)
  return new MillraceError('request-invalid', `object store refused ${path}: ${told}`, { cause, facts })
}

export function s3FailureOf(cause: unknown): S3Failure {
  if (typeof cause !== 'object' || cause === null) return { name: String(cause), status: undefined, message: '' }
  const fields: { name?: unknown; message?: unknown; Code?: unknown; code?: unknown; $metadata?: unknown } = cause
  const metadata: { httpStatusCode?: unknown } =
    typeof fields.$metadata === 'object' && fields.$metadata !== null ? fields.$metadata : {}
  const named = [fields.Code, fields.name, fields.code].find((name) => typeof name === 'string' && name !== 'Error')
  return {
    name: typeof named === 'string' ? named : 'Error',
    status: typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined,
    message: typeof fields.message === 'string' ? fields.message : '',
  }
}
