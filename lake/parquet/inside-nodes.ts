/**
 * The schema nodes directly inside a struct, list or map of a file, past the groups that Parquet puts between:
 *
 *   list   group (LIST) → repeated group → element        map   group (MAP) → repeated group → key, value
 */
import type { NestedKind } from '../../schemas/column-type.ts'
import type { SchemaNode } from './parquet.ts'

/** In the order of `childFields`; undefined when the node is something else. */
export function insideNodes(node: SchemaNode, kind: NestedKind): readonly SchemaNode[] | undefined {
  const { children, columnIndex, repetition, logical } = node
  if (columnIndex !== undefined || repetition === 'REPEATED') return undefined
  if (kind === 'struct') {
    const isPlain = logical === undefined && children.every((child) => child.repetition !== 'REPEATED')
    return isPlain && children.length > 0 ? children : undefined
  }
  const [entries] = children
  const hasEntries = children.length === 1 && entries.repetition === 'REPEATED' && entries.columnIndex === undefined
  if (!hasEntries || logical !== (kind === 'list' ? 'LIST' : 'MAP')) return undefined
  return entries.children.length === (kind === 'list' ? 1 : 2) ? entries.children : undefined
}

/** `struct`, `list`, `map`, or `column` for a leaf: what a node looks like, for messages. */
export function nodeText(node: SchemaNode): string {
  if (node.columnIndex !== undefined) return 'a column'
  const kind = (['struct', 'list', 'map'] as const).find((each) => insideNodes(node, each))
  return kind === undefined ? `a ${node.repetition} group ${node.logical ?? 'without logical type'}` : `a ${kind}`
}
