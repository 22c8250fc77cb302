/**
 * What a client takes: the format of a result by `Accept`, its compression by `Accept-Encoding` (RFC 9110, 12.5). Weights
 * count: the highest wins, 0 rules out; of equal weights the one that names us most exactly, then the one named first.
 * A part that is malformed counts as if it were not there.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { CONTENT_TYPES, FORMATS, type ResultFormat } from './formats.ts'

/** Spellings that ask for a format, the first of which answers carry. */
const NAMES: Readonly<Record<ResultFormat, readonly string[]>> = {
  json: ['application/json'],
  jsonl: ['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonlines'],
  csv: ['text/csv'],
  tsv: ['text/tab-separated-values'],
  arrow: ['application/vnd.apache.arrow.stream'],
  parquet: ['application/vnd.apache.parquet', 'application/x-parquet'],
}

type Part = { readonly name: string; readonly weight: number }

function partsOf(header: string): Part[] {
  return header.split(',').flatMap((text) => {
    const [name, ...parameters] = text.split(';').map((each) => each.trim().toLowerCase())
    if (name === '') return []
    const given = parameters.find((each) => /^q\s*=/.test(each))
    if (given === undefined) return [{ name, weight: 1 }]
    const weight = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.exec(given)?.[1]
    return weight === undefined ? [] : [{ name, weight: Number(weight) }]
  })
}

type Match = { readonly weight: number; readonly exactness: number; readonly place: number }

/** The most exact part that speaks of this media type. */
function matchOf(parts: readonly Part[], mediaType: string): Match | undefined {
  const ranges = [mediaType, `${mediaType.split('/')[0]}/*`, '*/*']
  for (const [i, range] of ranges.entries()) {
    const place = parts.findIndex(({ name }) => name === range || (range === '*/*' && name === '*'))
    if (place >= 0) return { weight: parts[place].weight, exactness: -i, place }
  }
  return undefined
}

export function acceptedFormat(accept: string | undefined): ResultFormat {
  const parts = partsOf(accept ?? '')
  if (parts.length === 0) return 'json'
  let best: (Match & { readonly format: ResultFormat }) | undefined
  for (const format of FORMATS) {
    for (const name of NAMES[format]) {
      const match = matchOf(parts, name)
      if (match === undefined || match.weight === 0) continue
      if (best === undefined || isBetter(match, best)) best = { ...match, format }
    }
  }
  if (best) return best.format
  const known = FORMATS.map((format) => CONTENT_TYPES[format].split(';')[0]).join(', ')
  throw new MillraceError('not-acceptable', `accept: a result can be ${known}, found "${accept}"`)
}

function isBetter(a: Match, b: Match): boolean {
  if (a.weight !== b.weight) return a.weight > b.weight
  if (a.exactness !== b.exactness) return a.exactness > b.exactness
  return a.place < b.place
}

/** Is gzip taken, and not less gladly than bytes as they are? */
export function takesGzip(acceptEncoding: string | undefined): boolean {
  const parts = partsOf(acceptEncoding ?? '')
  const weightOf = (...names: string[]) => parts.find(({ name }) => names.includes(name))?.weight
  const any = weightOf('*')
  const gzip = weightOf('gzip', 'x-gzip') ?? any ?? 0
  // Named nowhere, bytes as they are may always be sent: that is no wish for them.
  const identity = weightOf('identity') ?? 0
  return gzip > 0 && gzip >= identity
}
