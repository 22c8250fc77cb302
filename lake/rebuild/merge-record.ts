/**
 * What the footer of a merged segment says beside what every segment's footer says (ADR 18): which files it stands for, and what
 * their footers said of their ticks, since those files go with the sweep some day.
 *
 *   millrace.merge   {format, commitId, replaces: [path, …], inputs: [[path, what `millrace.commit` said there | null], …]}
 *
 * `inputs` are the segments that ticks wrote, oldest first: an input that was itself merged is told by its own inputs, and its
 * path is in `replaces`. All of them were live, so their ticks were committed. Whether the merge was, the file cannot know: its
 * inputs may still be there, and hold the same rows.
 */

export const MERGE_KEY = 'millrace.merge'

const FORMAT = 1

export type MergeInput = {
  readonly path: string
  /** The text of `millrace.commit` there; undefined when its release wrote none. */
  readonly commit: string | undefined
}

export type MergeRecord = {
  readonly commitId: string
  /** Merged segments that it stands for. */
  readonly replaces: readonly string[]
  readonly inputs: readonly MergeInput[]
}

export function mergedSegmentPath(location: string, writerId: string, number: number): string {
  return `${location}/segments/${writerId}-merged-${String(number).padStart(8, '0')}.parquet`
}

export function mergeJson({ commitId, replaces, inputs }: MergeRecord): string {
  const told = inputs.map(({ path, commit }) => `[${JSON.stringify(path)},${commit ?? 'null'}]`).join(',')
  const head = JSON.stringify({ format: FORMAT, commitId, replaces }).slice(0, -1)
  return `${head},"inputs":[${told}]}`
}

type JsonMerge = {
  readonly format: number
  readonly commitId: string
  readonly replaces: readonly string[]
  readonly inputs: readonly (readonly [path: string, commit: unknown])[]
}

/** undefined: the file is no merged segment. Throws when it says it is one and does not read back. */
export function readMergeRecord(keyValues: ReadonlyMap<string, string>): MergeRecord | undefined {
  const text = keyValues.get(MERGE_KEY)
  if (text === undefined) return undefined
  const { format, commitId, replaces, inputs } = JSON.parse(text) as JsonMerge
  if (format !== FORMAT) throw new Error(`${MERGE_KEY} has format ${format}, this release reads ${FORMAT}`)
  return {
    commitId,
    replaces,
    inputs: inputs.map(([path, commit]) => ({ path, commit: commit === null ? undefined : JSON.stringify(commit) })),
  }
}
