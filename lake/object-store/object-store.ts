/**
 * Bytes live here. A path is an absolute URI (`file:///lake/flights/data/x.parquet`, `s3://bucket/lake/…`), the same
 * text that Iceberg metadata holds; a store serves the URIs under its root and refuses others (`request-invalid`).
 *
 * Errors: `file-missing` (no such object), `precondition-failed` (412), `store-unavailable` (timeouts, 503, network:
 * the outcome of a write is then unknown), all with the path in the message.
 */
export type ObjectInfo = {
  readonly path: string
  readonly size: number
  /** Quoted as S3 gives it; a local file's is derived from size, mtime and inode. */
  readonly etag: string
  /** Microseconds since epoch, by the store's clock. */
  readonly modifiedAt: bigint
}

export type PutCondition = {
  /** Only if there is no such object: at most one of many racers wins. */
  readonly ifNoneMatch?: '*'
  /** Only if the object's etag is this one. */
  readonly ifMatch?: string
}

export type ByteRange = { readonly start: number; readonly end: number }

export type GetOptions = {
  /** Half-open; past the end is cut, entirely past the end is `request-invalid`. */
  readonly range?: ByteRange
  /** Fails with `precondition-failed` when the object is another one. */
  readonly ifMatch?: string
  readonly signal?: AbortSignal
}

export type ObjectBytes = { readonly bytes: Uint8Array; readonly etag: string; readonly objectSize: number }

export type ObjectStore = {
  /** Scheme and prefix, without a trailing slash. */
  readonly root: string
  /** Atomic and durable (fsync of file and folder, or the PUT's reply) when it resolves. */
  put(path: string, bytes: Uint8Array, condition?: PutCondition): Promise<ObjectInfo>
  /** A file of this machine becomes an object; multipart above `multipartBytesMin`. The local file stays. */
  putFile(path: string, localFile: string, condition?: PutCondition): Promise<ObjectInfo>
  get(path: string, options?: GetOptions): Promise<ObjectBytes>
  /** undefined when there is none. */
  head(path: string): Promise<ObjectInfo | undefined>
  /** In key order, everything whose path starts with the prefix (a folder prefix ends with `/`). */
  list(prefix: string): AsyncIterable<ObjectInfo>
  /** A missing object is no error. */
  delete(paths: readonly string[]): Promise<void>
  close(): Promise<void>
}
