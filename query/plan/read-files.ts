/**
 * The files of one table on their way to DuckDB:
 *
 *   open    footers, side by side: is the file what its record says, which row groups can hold a row that is needed
 *   ask     bloom filters of what is left, when what they may save is worth a round trip
 *   settle  whether DuckDB is told which rows of a file to look at: where it would read more by itself than we fetch
 *   fetch   the column chunks, near ones in one GET, side by side
 *
 * Local files are opened where they are and never told about rows: their bytes are all there.
 */
import type { MappedFile, RowRange } from '../../lake/file-mapping.ts'
import { FILE_SCHEME } from '../../lake/object-store/object-path.ts'
import type { ByteRange } from '../../lake/object-store/object-store.ts'
import { mayContain, readBloomFilter } from '../../lake/parquet/bloom-filter.ts'
import { readLocalBytes } from '../../lake/parquet/footer-file.ts'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import { type PlainFilter, plainFilters } from '../../lake/parquet/prune.ts'
import { bloomRange, joinRanges, totalBytes } from '../../lake/parquet/ranges.ts'
import type { EnsuredFile, RangeCache } from '../../lake/range-cache/range-cache.ts'
import { inParallel } from '../../runtime/in-parallel.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { TableStats } from './plan-stats.ts'
import { bloomsToAsk, type ExcludedByBloom, type FileNeeds, fileNeeds, keptRowGroups } from './row-groups.ts'
import type { TableScan } from './scan-needs.ts'
import type { TableFile } from './table-files.ts'

export type OpenFile = MappedFile & {
  readonly file: TableFile
  /** What bloom filters say; undefined when none were asked. */
  readonly excluded: ExcludedByBloom | undefined
}

/** With what of it is needed. */
export type SettledFile = OpenFile & {
  readonly needs: FileNeeds
  readonly needed: readonly ByteRange[]
  readonly rows?: readonly RowRange[]
}

export type FilesReader = {
  open(files: readonly TableFile[], scans: readonly TableScan[]): Promise<readonly OpenFile[]>
  /** Pure, but for what the cache has. */
  settle(files: readonly OpenFile[], scans: readonly TableScan[], options: SettleOptions): readonly SettledFile[]
  fetch(files: readonly SettledFile[]): Promise<void>
  missingBytes(file: TableFile, ranges: readonly ByteRange[]): number
}

export type SettleOptions = {
  readonly mayReadInside: (fieldId: number) => boolean
  /** Row groups beyond which nothing is needed; undefined: all. */
  readonly only?: (file: OpenFile) => ReadonlySet<number> | undefined
}

export type ReadSavings = {
  /** Bytes fetched but not needed, before a file becomes a branch of its own; 32 KiB. */
  readonly restrictMin: number
  /** Bytes of column chunks that bloom filters may save, before they are asked first; 512 KiB. */
  readonly bloomMin: number
  /** A segment comes whole up to this size: the next question needs other columns of it, and soon it is gone. 8 MiB. */
  readonly wholeSegmentMax: number
}

export type ReadOptions = {
  readonly cache: RangeCache
  readonly stats: TableStats
  readonly signal: AbortSignal
  readonly wholeFiles: boolean
  readonly parallelMax: number
  readonly savings: ReadSavings
  /** What `release` of the plan lets go. */
  readonly held: EnsuredFile[]
}

const BRANCHES_MAX = 40
const BLOOM_OVER_READ = 256 << 10

export function createFilesReader(options: ReadOptions): FilesReader {
  const { cache, stats, signal, held, savings } = options
  const isWhole = (file: TableFile) => options.wholeFiles || (file.isSegment && file.bytes <= savings.wholeSegmentMax)

  async function ensure(file: TableFile, ranges: readonly ByteRange[]): Promise<EnsuredFile> {
    const { path, bytes, etag, checksum } = file
    // A bloom filter of unknown length may seem to end behind its file.
    const inside = ranges.map(({ start, end }) => ({ start, end: Math.min(end, bytes) }))
    const ensured = await cache.ensure(path, bytes, etag, inside, signal, checksum, footerGuess(file))
    held.push(ensured)
    stats.bytesFetched += ensured.fetchedBytes
    stats.requests += ensured.requests
    return ensured
  }

  const missingBytes = ({ path, bytes, etag }: TableFile, ranges: readonly ByteRange[]) =>
    cache.missingBytes(path, bytes, etag, ranges)

  async function openOne(file: TableFile, scans: readonly TableScan[]): Promise<OpenFile> {
    const { path, bytes, etag, checksum } = file
    // Brings the footer of a remote file, and what it costs is ours; a local file costs nothing.
    const { localFile } = await ensure(file, [])
    const footer = await cache.footer(path, bytes, etag, signal, checksum)
    if (footer.rowCount !== file.rowCount) {
      throw new MillraceError(
        'file-damaged',
        `${path}: it has ${footer.rowCount} rows, ${file.rowCount} are recorded`,
        { facts: { path } },
      )
    }
    const excluded = await askBlooms(file, localFile, footer, scans)
    return { path, localFile, footer, file, excluded }
  }

  async function askBlooms(
    file: TableFile,
    localFile: string,
    footer: ParquetFooter,
    scans: readonly TableScan[],
  ): Promise<ExcludedByBloom | undefined> {
    if (file.path.startsWith(FILE_SCHEME) || isWhole(file)) return undefined
    const blooms = bloomsToAsk(footer, scans)
    if (blooms.length === 0) return undefined
    const needs = fileNeeds(footer, scans, { mayReadInside: () => true })
    if (missingBytes(file, needs.all) - totalBytes(blooms) < savings.bloomMin) return undefined
    const { ranges } = joinRanges(blooms, { overReadMin: BLOOM_OVER_READ })
    await ensure(file, ranges)
    return excludedBy(localFile, footer, scans)
  }

  function settle(
    files: readonly OpenFile[],
    scans: readonly TableScan[],
    settling: SettleOptions,
  ): readonly SettledFile[] {
    const settled = files.flatMap((file): SettledFile[] => {
      const only = settling.only?.(file)
      const needs = fileNeeds(file.footer, scans, { ...settling, only, excluded: file.excluded })
      return needs.kept.length === 0 && file.footer.rowGroups.length > 0 ? [] : [{ ...file, needs, needed: needs.all }]
    })
    const saves = new Map<SettledFile, number>()
    for (const each of settled) {
      const { file, needs } = each
      if (isWhole(file) || file.path.startsWith(FILE_SCHEME)) continue
      const saved = missingBytes(file, needs.all) - missingBytes(file, needs.restricted)
      if (saved >= savings.restrictMin) saves.set(each, saved)
    }
    const told = new Set<SettledFile>()
    let branches = 0
    for (const [file] of [...saves].sort((a, b) => b[1] - a[1])) {
      branches += file.needs.rows.length
      if (branches > BRANCHES_MAX) break
      told.add(file)
    }
    return settled.map((each) =>
      told.has(each) ? { ...each, rows: each.needs.rows, needed: each.needs.restricted } : each,
    )
  }

  return {
    missingBytes,
    async open(files, scans) {
      const opened: OpenFile[] = []
      await inParallel(files, async (file) => void opened.push(await openOne(file, scans)), options.parallelMax)
      // In a fixed order, so that the same question over the same version reads its files in the same order.
      return opened.sort((a, b) => (a.path < b.path ? -1 : 1))
    },
    settle,
    async fetch(files) {
      await inParallel(
        files,
        async ({ file, needed }) => {
          const ranges = isWhole(file) ? [{ start: 0, end: file.bytes }] : joinRanges(needed).ranges
          if ((await ensure(file, ranges)).requests === 0) stats.cacheHits++
        },
        options.parallelMax,
      )
    },
  }
}

const ROW_GROUP_ROWS = 122_880
const FOOTER_CHUNK_BYTES = 130
const FOOTER_BYTES_MIN = 16 << 10
const FOOTER_BYTES_MAX = 1 << 20

/** A footer has some hundred bytes a column chunk; one that is longer than the guess costs another GET. */
function footerGuess({ rowCount, columnCount }: TableFile): number {
  const chunks = Math.ceil(rowCount / ROW_GROUP_ROWS) * columnCount
  return Math.min(FOOTER_BYTES_MAX, Math.max(FOOTER_BYTES_MIN, chunks * FOOTER_CHUNK_BYTES))
}

/** Their bloom filters are in the local file. */
async function excludedBy(
  localFile: string,
  footer: ParquetFooter,
  scans: readonly TableScan[],
): Promise<ExcludedByBloom> {
  const excluded = new Map<PlainFilter, Set<number>>()
  for (const scan of scans) {
    const rowGroups = keptRowGroups(footer, [scan])
    for (const filter of plainFilters(scan.filters)) {
      if (filter.op === '=' || filter.op === 'in') {
        excluded.set(filter, await rowGroupsWithout(localFile, footer, filter, rowGroups))
      }
    }
  }
  return (rowGroup, filter) => excluded.get(filter)?.has(rowGroup) ?? false
}

async function rowGroupsWithout(
  localFile: string,
  footer: ParquetFooter,
  filter: Extract<PlainFilter, { op: '=' | 'in' | '<' | '<=' | '>' | '>=' }>,
  rowGroups: readonly number[],
): Promise<Set<number>> {
  const without = new Set<number>()
  const leaf = footer.columns.findIndex(({ fieldId }) => fieldId === filter.fieldId)
  if (leaf < 0 || footer.columns[leaf].repetition === 'REPEATED') return without
  const values = filter.op === 'in' ? filter.values : [filter.value]
  for (const rowGroup of rowGroups) {
    const range = bloomRange(footer, footer.rowGroups[rowGroup].chunks[leaf])
    const bloom = range && readBloomFilter(await readLocalBytes(localFile, range))
    if (bloom && !values.some((value) => mayContain(bloom, footer.columns[leaf], filter.type, value))) {
      without.add(rowGroup)
    }
  }
  return without
}
