/**
 * A Parquet footer lists its schema flat, parents before their children, each saying how many children follow. This
 * turns the list into the tree it is and into leaf columns with dotted paths, and the older converted types into the names of the logical ones.
 */
import type { LeafColumn, PhysicalType, SchemaNode } from './parquet.ts'
import { thriftDamage } from './thrift.ts'

export type SchemaElement = {
  name: string
  physical: PhysicalType | undefined
  typeLength: number | undefined
  repetition: number
  children: number
  converted: number | undefined
  scale: number
  precision: number
  fieldId: number | undefined
  logical: string | undefined
}

/** Of groups: 32 levels of ours, with two groups each. */
const GROUPS_MAX = 128
const REPETITIONS = ['REQUIRED', 'OPTIONAL', 'REPEATED'] as const
const CONVERTED: Record<number, string> = {
  0: 'STRING',
  1: 'MAP',
  2: 'MAP',
  3: 'LIST',
  4: 'ENUM',
  6: 'DATE',
  7: 'TIME(MILLIS,true)',
  8: 'TIME(MICROS,true)',
  9: 'TIMESTAMP(MILLIS,true)',
  10: 'TIMESTAMP(MICROS,true)',
  11: 'INTEGER(8,false)',
  12: 'INTEGER(16,false)',
  13: 'INTEGER(32,false)',
  14: 'INTEGER(64,false)',
  15: 'INTEGER(8,true)',
  16: 'INTEGER(16,true)',
  17: 'INTEGER(32,true)',
  18: 'INTEGER(64,true)',
  19: 'JSON',
  20: 'BSON',
  21: 'INTERVAL',
}

export function parseSchemaTree(elements: readonly SchemaElement[]): {
  readonly fields: readonly SchemaNode[]
  readonly columns: readonly LeafColumn[]
} {
  if (elements.length === 0) throw thriftDamage('it has no schema')
  const columns: LeafColumn[] = []
  let at = 1
  const visit = (count: number, parents: readonly string[], isOptional: boolean, isRepeated: boolean): SchemaNode[] => {
    if (parents.length > GROUPS_MAX) throw thriftDamage('its schema is nested too deeply')
    const nodes: SchemaNode[] = []
    for (let i = 0; i < count; i++) {
      const element = elements[at++]
      if (element === undefined) throw thriftDamage('its schema names more children than it has')
      const repetition = REPETITIONS[element.repetition]
      if (repetition === undefined) throw thriftDamage(`there is no repetition ${element.repetition}`)
      const path = [...parents, element.name]
      const optional = isOptional || repetition === 'OPTIONAL'
      const repeated = isRepeated || repetition === 'REPEATED'
      const { name, fieldId } = element
      const logical = logicalOf(element)
      if (element.physical === undefined) {
        const children = visit(element.children, path, optional, repeated)
        nodes.push({ name, fieldId, repetition, logical, columnIndex: undefined, children })
        continue
      }
      if (element.children > 0) throw thriftDamage(`column ${path.join('.')} has a type and children`)
      nodes.push({ name, fieldId, repetition, logical, columnIndex: columns.length, children: [] })
      columns.push({
        path: path.join('.'),
        fieldId,
        physical: element.physical,
        typeLength: element.typeLength,
        logical,
        repetition: repeated ? 'REPEATED' : optional ? 'OPTIONAL' : 'REQUIRED',
      })
    }
    return nodes
  }
  const fields = visit(elements[0].children, [], false, false)
  if (at !== elements.length) throw thriftDamage('its schema has elements without a parent')
  return { fields, columns }
}

function logicalOf(element: SchemaElement): string | undefined {
  if (element.logical !== undefined) return element.logical
  if (element.converted === undefined) return undefined
  return element.converted === 5 ? `DECIMAL(${element.precision},${element.scale})` : CONVERTED[element.converted]
}
