/** The store for a root by its scheme, with retries around it; a process opens each root once and shares it. */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createLocalObjectStore } from './local.ts'
import { FILE_SCHEME, S3_SCHEME } from './object-path.ts'
import type { ObjectStore } from './object-store.ts'
import { type RetrySettings, retryRequests } from './retry.ts'
import { createS3ObjectStore, type S3Settings } from './s3.ts'

export type OpenObjectStoreOptions = {
  /** `file:///absolute/folder`, `s3://bucket` or `s3://bucket/prefix`. */
  readonly root: string
  /** Needed for `s3://`. */
  readonly s3?: S3Settings
  readonly world: Pick<World, 'clock' | 'random' | 'log'>
  readonly retry?: RetrySettings
}

export function openObjectStore(options: OpenObjectStoreOptions): ObjectStore {
  return retryRequests(openPlain(options), options.world, options.retry)
}

function openPlain({ root, s3, world }: OpenObjectStoreOptions): ObjectStore {
  if (root.startsWith(FILE_SCHEME)) return createLocalObjectStore({ root, world })
  if (!root.startsWith(S3_SCHEME)) {
    throw new MillraceError('settings-invalid', `expected a root with file:// or s3://, found ${root}`, {
      facts: { root },
    })
  }
  if (s3 === undefined) {
    throw new MillraceError('settings-invalid', `root ${root} needs the settings of S3 (region, endpoint, keys)`, {
      facts: { root },
    })
  }
  return createS3ObjectStore({ root, s3, world })
}
