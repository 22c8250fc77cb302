/**
 * Between a path (the absolute text that Iceberg metadata holds) and the key inside a store's root.
 *
 *   s3://bucket/lake/flights/data/hour=5/x.parquet    root s3://bucket/lake    key flights/data/hour=5/x.parquet
 *   file:///lake/flights/data/city=S%C3%A3o/x         root file:///lake        key flights/data/city=S%C3%A3o/x
 *
 * Nothing is decoded, for either scheme: what follows the root is the key, byte for byte, and the file's name on disk has
 * the same percent signs. Iceberg readers do it so (pyiceberg and DuckDB open `file:///d/c%20d/x` as the folder `c%20d`
 * and cannot find `a b` under `a%20b`; Hadoop paths and S3 keys are the same), and a table must open in all of them.
 * A key that could leave the root, or that a file system reads in its own way, is refused.
 */
import { MillraceError } from '../../schemas/errors.ts'

export const FILE_SCHEME = 'file://'
export const S3_SCHEME = 's3://'

const KEY_BYTES_MAX = 1024
const NAME_BYTES_MAX = 255

export function trimTrailingSlashes(text: string): string {
  let end = text.length
  while (end > 0 && text[end - 1] === '/') end--
  return text.slice(0, end)
}

/** The root's own spelling is kept; without a slash at its end. */
export function fileRootFolder(root: string): string {
  const trimmed = trimTrailingSlashes(root)
  const folder = trimmed.slice(FILE_SCHEME.length)
  const plain = folder.split('/').every((name, index) => index === 0 || (name !== '' && name !== '.' && name !== '..'))
  if (trimmed.startsWith(`${FILE_SCHEME}/`) && plain && !folder.includes('\0')) return folder
  throw new MillraceError('settings-invalid', `expected file:///an/absolute/folder as root, found ${root}`, {
    facts: { root },
  })
}

/** The file of this machine behind a `file://` path, for readers that open files themselves. */
export function localFileOf(path: string): string {
  if (path.startsWith(`${FILE_SCHEME}/`)) return path.slice(FILE_SCHEME.length)
  throw new MillraceError('request-invalid', `expected a file:/// path, found ${path}`, { facts: { path } })
}

/** The key of a path, checked: shared rules, so that a table can move from one kind of store to the other. */
export function keyOf(root: string, path: string): string {
  const key = afterRoot(root, path)
  const reason = keyFault(key)
  if (reason === undefined) return key
  throw new MillraceError('request-invalid', `path ${path} is not a key of an object: ${reason}`, { facts: { path } })
}

/** The start of keys that a list prefix means: any text, but inside the root and without a way out of it. */
export function keyPrefixOf(root: string, prefix: string): string {
  if (prefix === root) return ''
  const start = afterRoot(root, prefix)
  const folders = start.split('/').slice(0, -1)
  if (!folders.some((name) => name === '' || name === '.' || name === '..') && !start.includes('\0')) return start
  throw new MillraceError('request-invalid', `prefix ${prefix} is not the start of a key`, { facts: { prefix } })
}

function afterRoot(root: string, path: string): string {
  if (path.startsWith(`${root}/`)) return path.slice(root.length + 1)
  throw new MillraceError('request-invalid', `path ${path} is not under the root ${root} of this store`, {
    facts: { path, root },
  })
}

function keyFault(key: string): string | undefined {
  if (key === '') return 'it is empty'
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) return `it is longer than ${KEY_BYTES_MAX} bytes`
  if (!key.isWellFormed()) return 'it is not well-formed text'
  if (holdsControlCharacter(key)) return 'it holds a control character'
  for (const name of key.split('/')) {
    if (name === '') return 'it has an empty name between slashes, or ends with a slash'
    if (name === '.' || name === '..') return `it has the name ${name}`
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) return `a name in it is longer than ${NAME_BYTES_MAX} bytes`
  }
  return undefined
}

/** Replies of S3 are XML, which cannot carry them. */
function holdsControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

/** Keys compare by their UTF-8 bytes, as S3 lists them (UTF-16 order differs above U+D7FF). */
export function compareKeys(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}
