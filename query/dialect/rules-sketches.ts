/**
 * Sketches (docs/reference/sketches.md) are macros of every engine. A macro takes neither FILTER nor DISTINCT nor OVER, which an
 * aggregate does: a call with one of them becomes what its macro would have become.
 */
import { SKETCH_AGGREGATES } from '../../lake/sketches/sketch-sql.ts'
import { filled, type Rule, rule } from './rule.ts'

export const SKETCHES: readonly Rule[] = SKETCH_AGGREGATES.map(({ names, args, template }) =>
  rule(names.join(' '), args, (rewrite) => {
    const { isDistinct, orderBy, filter, over } = rewrite.call
    return isDistinct || orderBy || filter || over ? filled(template, rewrite) : undefined
  }),
)
