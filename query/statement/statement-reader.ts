/**
 * Checked statements by their text, and by their shape: what a check finds (tables, functions, kinds) does not depend on
 * the values that a statement compares with (`lifted-literals.ts`), so only the first of a shape is parsed by DuckDB.
 *
 * Kept are the statements and shapes used last. A text that needed rewriting (names and syntax of other systems), or that is
 * longer than `LENGTH_MAX`, has no shape.
 */
import { createRecent } from '../run/recent.ts'
import { type Lifting, liftingOf, type Shape, shapeOf } from './lifted-literals.ts'
import { type ParsedStatement, parseStatement } from './parse-statement.ts'

export type LiftedText = Lifting & {
  readonly shape: Shape
  /** The shape, and the literals that are not lifted. */
  readonly key: string
}

/** `lifted`: it was checked by its shape, or others can be; positions of its tables are those of the first one. */
export type ReadStatement = ParsedStatement & { readonly lifted?: LiftedText }

export type StatementReader = {
  read(sql: string, signal?: AbortSignal): Promise<ReadStatement>
  /** For those who have no place yet: only a few are parsed at a time, and the same text once; undefined: too many. */
  readEarly(sql: string): Promise<ReadStatement | undefined>
  /** Parsed once more, with positions of its own. */
  parse(sql: string, signal?: AbortSignal): Promise<ReadStatement>
}

const KEPT_MAX = 1000
const LENGTH_MAX = 20_000
const OF_ONE_SHAPE_MAX = 20
const EARLY_MAX = 4

type OfShape = { readonly lifting: Lifting; readonly fixed: string; readonly statement: ParsedStatement }

/** `ask` runs a statement of ours and gives the first value of its first row. */
export function createStatementReader(
  ask: (sql: string, signal: AbortSignal | undefined) => Promise<string>,
): StatementReader {
  const texts = createRecent<ReadStatement>(KEPT_MAX)
  const shapes = createRecent<readonly OfShape[]>(KEPT_MAX)
  const parsing = new Map<string, Promise<ReadStatement>>()

  function known(sql: string): ReadStatement | undefined {
    const statement = texts.get(sql)
    if (statement || sql.length > LENGTH_MAX) return statement
    const shape = shapeOf(sql)
    if (!shape) return undefined
    for (const { lifting, fixed, statement: first } of shapes.get(shape.key) ?? []) {
      if (fixedOf(shape, lifting) !== fixed) continue
      const found = { ...first, sql, lifted: { ...lifting, shape, key: `${shape.key}${fixed}` } }
      texts.set(sql, found)
      return found
    }
    return undefined
  }

  async function parse(sql: string, signal?: AbortSignal): Promise<ReadStatement> {
    const trees: string[] = []
    const statement = await parseStatement(sql, async (asked) => {
      const tree = await ask(asked, signal)
      trees.push(tree)
      return tree
    })
    if (sql.length > LENGTH_MAX) return statement
    const lifted =
      statement.sql === sql && statement.kind === 'select' && trees.length === 1 ? lift(sql, trees[0]) : undefined
    const read = lifted ? { ...statement, lifted } : statement
    texts.set(sql, read)
    if (lifted) {
      const { shape, places, parameters } = lifted
      const lifting = { places, parameters }
      const same = shapes.get(shape.key) ?? []
      const fixed = fixedOf(shape, lifting)
      const others = same.filter((each) => each.fixed !== fixed).slice(0, OF_ONE_SHAPE_MAX - 1)
      shapes.set(shape.key, [{ lifting, fixed, statement }, ...others])
    }
    return read
  }

  return {
    parse,
    read: async (sql, signal) => known(sql) ?? parse(sql, signal),
    async readEarly(sql) {
      const found = known(sql) ?? parsing.get(sql)
      if (found) return found
      if (sql.length > LENGTH_MAX || parsing.size >= EARLY_MAX) return undefined
      const result = parse(sql).finally(() => parsing.delete(sql))
      parsing.set(sql, result)
      return result
    },
  }
}

function lift(sql: string, tree: string): LiftedText | undefined {
  const shape = shapeOf(sql)
  if (!shape) return undefined
  const lifting = liftingOf(sql, shape, tree)
  if (lifting.places.length === 0 && lifting.parameters.length === 0) return undefined
  return { ...lifting, shape, key: `${shape.key}${fixedOf(shape, lifting)}` }
}

/** The literals that stay as they are. */
function fixedOf({ literals }: Shape, { places }: Lifting): string {
  const lifted = new Set(places.map(({ literal }) => literal))
  return JSON.stringify(literals.filter((_, index) => !lifted.has(index)).map(({ value }) => value))
}
