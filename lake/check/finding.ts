/**
 * What `millrace check` says: one finding is one thing that is not as it should be, with what refers to it, what was
 * expected and found, and what to do. Vocabulary first:
 *
 *   missing      the table's current version needs a file that is not there: rows cannot be read
 *   altered      a file is there, but not with the bytes that were written: length, etag, checksum or content differ
 *   dangling     something refers to what is not there, but the current version does not need it: an older snapshot's
 *                file, a schema or a writer that the catalog does not know
 *   orphan       a file that nothing refers to, and no writer that lives may still commit
 *   unbalanced   numbers that must agree do not: records in, rows, dead letters, totals
 *   overlapping  offsets that came in twice
 *   behind       the bucket holds commits that the catalog does not know
 *   stuck        a writer, a reader or the sweep stands still
 *
 * `damage` is what a human must look at; a `notice` is what the services put right by themselves.
 */
export type FindingKind =
  | 'missing'
  | 'altered'
  | 'dangling'
  | 'orphan'
  | 'unbalanced'
  | 'overlapping'
  | 'behind'
  | 'stuck'

export type FileKind =
  | 'segment'
  | 'data file'
  | 'manifest'
  | 'manifest list'
  | 'checkpoint'
  | 'metadata'
  | 'older metadata'

export type Finding = {
  readonly kind: FindingKind
  readonly severity: 'damage' | 'notice'
  /** A file's address, or what the finding is about: `pipeline flights`, `writer 1f0c…`. */
  readonly path: string
  readonly what: FileKind | 'file' | 'catalog' | 'pipeline' | 'table' | 'writer' | 'reader' | 'lease'
  readonly table: string | undefined
  readonly referredBy: string | undefined
  readonly expected: string | undefined
  readonly found: string | undefined
  readonly advice: string
}

/** A file that something refers to, with all that is recorded of it there. */
export type Reference = {
  readonly path: string
  readonly kind: FileKind
  readonly table: string
  /** `the catalog`, or the path of a file. */
  readonly referredBy: string
  /** Whether the table's current version is read from it. */
  readonly needed: boolean
  readonly bytes?: number
  readonly etag?: string
  /** CRC32C; undefined for files of an older release. */
  readonly checksum?: string
  /** Of a checkpoint. */
  readonly sha256?: string
  /** Of a segment or data file. */
  readonly rowCount?: number
}

export const CATALOG = 'the catalog'

const DERIVED = 'restore it from a copy or an older version in the bucket, under the same path'

/** What to do about a file whose bytes are gone or wrong. */
export function adviceFor(kind: FileKind, needed: boolean): string {
  if (!needed) return `only older versions of the table need it: ${DERIVED}, or leave it until it expires`
  switch (kind) {
    case 'segment':
      return `${DERIVED}; else read its offsets again from the source`
    case 'data file':
      return DERIVED
    default:
      return `${DERIVED}; "millrace catalog rebuild" can start from older metadata`
  }
}

export function fileFinding(
  kind: FindingKind,
  reference: Reference,
  expected: string | undefined,
  found: string | undefined,
): Finding {
  return {
    kind,
    severity: 'damage',
    path: reference.path,
    what: reference.kind,
    table: reference.table,
    referredBy: reference.referredBy,
    expected,
    found,
    advice: adviceFor(reference.kind, reference.needed),
  }
}

/** Not there: it depends on who needs it. */
export function absent(reference: Reference): Finding {
  return fileFinding(reference.needed ? 'missing' : 'dangling', reference, sizeText(reference.bytes), 'no such file')
}

export function sizeText(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : `${bytes} bytes`
}

/** One line, whatever it holds. */
export function formatFinding(finding: Finding): string {
  const { kind, path, what, table, referredBy, expected, found, advice } = finding
  const facts = [
    what,
    ...(table === undefined ? [] : [`table ${table}`]),
    ...(referredBy === undefined ? [] : [`referred to by ${referredBy}`]),
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(found === undefined ? [] : [`found ${found}`]),
  ]
  return `${kind}  ${path}  (${facts.join('; ')}): ${advice}`.replaceAll(/[\r\n]+/g, ' ')
}
