/**
 * One setting: what it takes, what it means, what it is when nobody says. Leaves are made here and listed in
 * `settings-leaves.ts`; the loader, the reference page and the editors' JSON Schema are all derived from that list.
 *
 * A leaf parses one plain value (from YAML, a variable or a flag) and says, for each thing that is wrong, what it
 * expected there. Where the value came from is the loader's business.
 */
import { z } from 'zod'
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'

export type LeafIssue = { readonly path: readonly (string | number)[]; readonly expected: string }
export type LeafResult<T> = { readonly value: T } | { readonly issues: readonly LeafIssue[] }

export type Leaf<T> = {
  readonly description: string
  /** What fits, in words. */
  readonly expected: string
  readonly fallback: T
  /** The default as one would write it; undefined when there is none. */
  readonly fallbackText: string | number | boolean | readonly string[] | undefined
  /** What may be written, for the JSON Schema. */
  readonly schema: z.ZodType
  /** How the text of a variable or flag is read: as it is, as a list separated by commas, or as YAML. */
  readonly reads: 'text' | 'list' | 'yaml'
  /** Never printed. */
  readonly secret: boolean
  /** A path on this machine: relative ones start at the folder of the settings file. */
  readonly isPath: boolean
  /** `${env:…}` and `${file:…}` are not replaced: whoever uses the value reads them. */
  readonly keepsReferences?: boolean
  parse(value: unknown): LeafResult<T>
}

export type LeafValue<L> = L extends Leaf<infer T> ? T : never

type Common<T> = { readonly description: string; readonly fallback: T }
type Bounds = { readonly min: number; readonly max: number }

export function duration(options: Common<number> & Bounds): Leaf<number> {
  return amount(
    options,
    parseDuration,
    formatDuration,
    'a duration',
    '"500 ms", "60 s", "7 days" or a number of milliseconds',
  )
}

export function bytes(options: Common<number> & Bounds): Leaf<number> {
  return amount(options, parseBytes, formatBytes, 'a size', '"128 MiB", "2 GiB" or a number of bytes')
}

export function integer(options: Common<number> & Bounds): Leaf<number> {
  const expected = `a whole number between ${options.min} and ${options.max}`
  return zodLeaf({
    ...options,
    expected,
    fallbackText: options.fallback,
    schema: z.number().int().min(options.min).max(options.max),
    reads: 'yaml',
  })
}

/** A number, or `auto` (undefined): found out where it is used. */
export function integerOrAuto(options: { readonly description: string } & Bounds): Leaf<number | undefined> {
  const expected = `auto, or a whole number between ${options.min} and ${options.max}`
  const auto = zodLeaf<number | 'auto'>({
    ...options,
    expected,
    fallback: 'auto',
    fallbackText: 'auto',
    schema: z.union([z.literal('auto'), z.number().int().min(options.min).max(options.max)]),
    reads: 'yaml',
  })
  return {
    ...auto,
    fallback: undefined,
    parse(value) {
      const result = auto.parse(value)
      return 'value' in result && result.value === 'auto' ? { value: undefined } : (result as LeafResult<number>)
    },
  }
}

export function flag(options: Common<boolean>): Leaf<boolean> {
  return zodLeaf({
    ...options,
    expected: 'true or false',
    fallbackText: options.fallback,
    schema: z.boolean(),
    reads: 'yaml',
  })
}

type TextOptions = {
  readonly expected?: string
  readonly pattern?: RegExp
  readonly secret?: boolean
  readonly isPath?: boolean
}

export function text(options: Common<string> & TextOptions): Leaf<string> {
  return zodLeaf({ ...textParts(options), ...options, fallbackText: options.fallback })
}

/** `fallbackText` tells what happens without it. */
export function optionalText(
  options: { readonly description: string; readonly fallbackText?: string } & TextOptions,
): Leaf<string | undefined> {
  return zodLeaf<string | undefined>({
    ...textParts(options),
    fallbackText: undefined,
    ...options,
    fallback: undefined,
  })
}

function textParts(options: TextOptions) {
  const plain = z.string().min(1).max(4096)
  return {
    expected: options.expected ?? 'a text',
    schema: options.pattern ? plain.regex(options.pattern) : plain,
    reads: 'text' as const,
    secret: options.secret ?? false,
    isPath: options.isPath ?? false,
  }
}

export function choice<const C extends string>(options: Common<C> & { readonly choices: readonly C[] }): Leaf<C>
export function choice<const C extends string>(
  options: { readonly description: string; readonly fallback: undefined } & { readonly choices: readonly C[] },
): Leaf<C | undefined>
export function choice(options: Common<string | undefined> & { readonly choices: readonly string[] }) {
  return zodLeaf<string | undefined>({
    ...options,
    expected: `one of ${options.choices.join(', ')}`,
    fallbackText: options.fallback,
    schema: z.enum(options.choices as [string, ...string[]]),
    reads: 'text',
  })
}

export function list(
  options: Common<readonly string[]> & { readonly expected: string; readonly pattern?: RegExp; readonly max: number },
): Leaf<readonly string[]> {
  const item = options.pattern ? z.string().regex(options.pattern) : z.string().min(1)
  const leaf = zodLeaf<readonly string[]>({
    ...options,
    expected: `a list of at most ${options.max}, each ${options.expected}`,
    fallbackText: options.fallback,
    schema: z.union([z.array(item).max(options.max), item]),
    reads: 'list',
  })
  const inList = z.array(item).max(options.max)
  return {
    ...leaf,
    parse(value) {
      const result = inList.safeParse(typeof value === 'string' ? [value] : value)
      if (result.success) return { value: result.data }
      return {
        issues: result.error.issues.map(({ path }) => ({
          path: typeof value === 'string' ? [] : plainPath(path),
          expected: path.length === 0 ? leaf.expected : options.expected,
        })),
      }
    },
  }
}

type ZodLeafOptions<T> = Omit<Leaf<T>, 'parse' | 'secret' | 'isPath'> & {
  readonly secret?: boolean
  readonly isPath?: boolean
}

export function zodLeaf<T>(options: ZodLeafOptions<T>): Leaf<T> {
  return {
    description: options.description,
    expected: options.expected,
    fallback: options.fallback,
    fallbackText: options.fallbackText,
    schema: options.schema,
    reads: options.reads,
    secret: options.secret ?? false,
    isPath: options.isPath ?? false,
    parse(value) {
      return parseWith(options.schema as z.ZodType<T>, value, options.expected)
    },
  }
}

/** Issues below the value itself carry the schema's own message as what was expected. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown, expected: string): LeafResult<T> {
  const result = schema.safeParse(value)
  if (result.success) return { value: result.data }
  const issues: LeafIssue[] = []
  for (const issue of result.error.issues) {
    const path = plainPath(issue.path)
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) issues.push({ path: [...path, key], expected: 'no such key' })
    } else {
      issues.push({ path, expected: path.length === 0 ? expected : issue.message })
    }
  }
  return { issues }
}

function plainPath(path: readonly PropertyKey[]): (string | number)[] {
  return path.map((each) => (typeof each === 'symbol' ? String(each) : each))
}

function amount(
  options: Common<number> & Bounds,
  parse: (value: string | number) => number | undefined,
  format: (value: number) => string,
  noun: string,
  examples: string,
): Leaf<number> {
  const expected = `${noun} between ${format(options.min)} and ${format(options.max)}: ${examples}`
  const leaf = zodLeaf<number>({
    ...options,
    expected,
    fallbackText: format(options.fallback),
    schema: z.union([z.number().int().min(options.min).max(options.max), z.string()]),
    reads: 'yaml',
  })
  return {
    ...leaf,
    parse(value) {
      const parsed = typeof value === 'string' || typeof value === 'number' ? parse(value) : undefined
      if (parsed === undefined || parsed < options.min || parsed > options.max)
        return { issues: [{ path: [], expected }] }
      return { value: parsed }
    },
  }
}
