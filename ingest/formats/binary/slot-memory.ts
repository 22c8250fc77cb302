/**
 * How much memory the lists of one record may take: few bytes can say many items, and each item takes room in every column
 * inside, also in those that the record knows nothing of (a list of a million empty messages in a table whose items have a
 * thousand fields). A record that would take more than `RECORD_MEMORY_MAX` is refused.
 */
import { type Field, isNested } from '../../../schemas/column-type.ts'
import { valueWidth } from '../../decoder/column-builder.ts'

export const RECORD_MEMORY_MAX = 128 * 1024 * 1024

export const TOO_MUCH_MEMORY = `more list items than fit in ${RECORD_MEMORY_MAX >> 20} MiB`

/** Bytes that a slot takes in a column and all columns of structs in it; not what lists and texts in it hold. */
export function slotBytes({ type }: Field): number {
  if (type.kind === 'struct') return type.fields.reduce((sum, field) => sum + slotBytes(field), 1)
  return isNested(type) ? 5 : Math.max(4, valueWidth(type.kind)) + 1
}
