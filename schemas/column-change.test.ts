import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ColumnChange, planColumnChange } from './column-change.ts'
import { parsePath } from './column-path.ts'
import { type ColumnType, type Field, fieldsWithin, formatColumnType, parseColumnType } from './column-type.ts'
import { droppedFields, type EvolvingTable, planEvolution } from './evolution.ts'
import { matchFields } from './match-fields.ts'

const LIMITS = { columnsMax: 20 }

function typeOf(text: string): ColumnType {
  const type = parseColumnType(text)
  if (!type) throw new Error(`no type: ${text}`)
  return type
}

function fieldsOf(text: string): readonly Field[] {
  const type = typeOf(`struct<${text}>`)
  return type.kind === 'struct' ? type.fields : []
}

/** With ids in the order of `fieldsWithin`, so that a test can say them. */
function tableOf(text: string): EvolvingTable {
  let next = 16
  const numbered = (fields: readonly Field[]): Field[] =>
    fields.map((field) => {
      const fieldId = next++
      const { type } = field
      if (type.kind === 'struct') return { ...field, fieldId, type: { ...type, fields: numbered(type.fields) } }
      if (type.kind === 'list') return { ...field, fieldId, type: { ...type, element: numbered([type.element])[0] } }
      if (type.kind === 'map') {
        const [key, value] = numbered([type.key, type.value])
        return { ...field, fieldId, type: { kind: 'map', key, value } }
      }
      return { ...field, fieldId }
    })
  const columns = numbered(fieldsOf(text))
  return { name: 't', columns, lastFieldId: next - 1, dropped: new Map(), reservedNames: ['ts_day'] }
}

/** `add a.b long` as the command writes it. */
function changeOf(text: string): ColumnChange {
  const [op, column, ...rest] = text.split(' ')
  const path = parsePath(column)
  if (!path) throw new Error(`no path: ${column}`)
  switch (op) {
    case 'add':
      return { op, path, type: typeOf(rest[0]), required: rest[1] === 'required' }
    case 'rename':
      return { op, path, to: rest[0] }
    case 'type':
      return { op, path, type: typeOf(rest.join(' ')) }
    case 'drop':
    case 'optional':
      return { op, path }
  }
  throw new Error(`no change: ${op}`)
}

const NEEDED = new Map([[16, 'partitioned by it']])

function changed(columns: string, change: string, table = tableOf(columns)): string {
  const plan = planColumnChange(table, NEEDED, changeOf(change), LIMITS)
  if (plan.kind === 'refused') return plan.reason
  return formatColumnType({ kind: 'struct', fields: plan.columns }).slice('struct<'.length, -1)
}

const TABLE =
  'ts: timestamptz required, n: int, s: struct<x: int, y: string>, l: list<struct<z: int>>, m: map<string, int required>'
const REST = TABLE.slice('ts: timestamptz required, n: int, '.length)

describe('changes of a human', () => {
  test.each([
    ['add gate string', `${TABLE}, gate: string`],
    ['add s.z long', TABLE.replace('y: string', 'y: string, z: long')],
    ['add l.element.a struct<q:int>', TABLE.replace('z: int', 'z: int, a: struct<q: int>')],
    ['drop n', `ts: timestamptz required, ${REST}`],
    ['drop s.x', TABLE.replace('x: int, ', '')],
    ['drop S.X', TABLE.replace('x: int, ', '')],
    ['rename n count', TABLE.replace('n: int', 'count: int')],
    ['rename n N', TABLE.replace('n: int', 'N: int')],
    ['rename ts at', TABLE.replace('ts:', 'at:')],
    ['rename l.element.z w', TABLE.replace('z: int', 'w: int')],
    ['type n long', TABLE.replace('n: int', 'n: long')],
    ['type m.value long', TABLE.replace('string, int required', 'string, long required')],
    ['optional ts', TABLE.replace('timestamptz required', 'timestamptz')],
    ['optional m.value', TABLE.replace('string, int required', 'string, int')],
  ])('%s', (change, columns) => {
    expect(changed(TABLE, change)).toBe(columns)
  })

  test.each([
    ['add gate string required', 'a new column cannot be required'],
    ['add N string', 'there is a column "n" already'],
    ['add ts_day date', 'is the name of a hidden column or of a partition field'],
    ['add _offset long', 'is a hidden column'],
    ['add n.x long', 'is int and has nothing inside'],
    ['add l.x long', 'is list<struct<z: int>>: fields can only be added to a struct'],
    ['add q.x long', 'there is no column "q"; its columns are ts, n, s, l, m'],
    ['drop ts', 'the table is partitioned by it, so column "ts" cannot be dropped'],
    ['drop q', 'there is no column "q"'],
    ['drop s.q', 'there is no column "s.q"; column "s" has x, y'],
    ['drop l.element', 'is part of a list: it cannot be dropped'],
    ['drop l.element.z', 'is the only field of column "l.element": drop that'],
    ['drop _arrived', 'is a hidden column'],
    ['rename n ts', 'there is a column "ts" already'],
    ['rename n TS_DAY', 'is the name of a hidden column or of a partition field'],
    ['rename n n', 'is called so already'],
    ['rename m.key k', 'is part of a map: it cannot be renamed'],
    ['type n string', 'is int and cannot become string: a type can only become wider'],
    ['type n int', 'is int already'],
    ['type s long', 'cannot become long'],
    ['optional n', 'is optional already'],
    ['optional m.key', 'keys are always required'],
  ])('%s is refused', (change, reason) => {
    expect(changed(TABLE, change)).toContain(`table "t": `)
    expect(changed(TABLE, change)).toContain(reason)
  })

  test('the last column stays, and there are no more than a table may have', () => {
    expect(
      changed('a: int', 'drop a', {
        ...tableOf('b: int, a: int'),
        columns: tableOf('b: int, a: int').columns.slice(1),
      }),
    ).toContain('is the only one')
    const many = Array.from({ length: 20 }, (_, index) => `c${index}: int`).join(', ')
    expect(changed(many, 'add gate string')).toContain('would have 21 columns, it may have 20 (columns-max)')
  })

  test('a column dropped and added again is another one, and records bring their values into that', () => {
    const start = tableOf('k: int, a: int')
    const without = planColumnChange(start, NEEDED, changeOf('drop a'), LIMITS)
    const columns = without.kind === 'change' ? without.columns : []
    const dropped = droppedFields([
      { schemaId: 0, columns: start.columns },
      { schemaId: 1, columns },
    ])
    const record = { name: 'v', fields: fieldsOf('k: int, a: int') }
    expect(planEvolution({ ...start, columns, dropped }, record, LIMITS)).toEqual({
      kind: 'same',
      ignored: [{ path: ['a'], why: 'dropped' }],
    })
    const again = planColumnChange({ ...start, columns, dropped }, NEEDED, changeOf('add a int'), LIMITS)
    const back = again.kind === 'change' ? again.columns : []
    expect(back.map(({ name, fieldId }) => `${name} ${fieldId}`)).toEqual(['k 16', 'a 18'])
    expect(planEvolution({ ...start, columns: back, lastFieldId: 18, dropped }, record, LIMITS)).toEqual({
      kind: 'same',
      ignored: [],
    })
  })

  test('a column added under the name that another had takes the values of that name, also where fields have numbers', () => {
    const numbered = tableOf('code: long, id: long')
    const table = { ...numbered, columns: numbered.columns.map((column, at) => ({ ...column, sourceId: at + 3 })) }
    const apart = planColumnChange(table, new Map(), changeOf('rename code code_old'), LIMITS)
    if (apart.kind === 'refused') throw new Error(apart.reason)
    const added = planColumnChange({ ...table, columns: apart.columns }, new Map(), changeOf('add code string'), LIMITS)
    if (added.kind === 'refused') throw new Error(added.reason)
    const field = { fieldId: 0, name: 'code', type: typeOf('string'), required: false, sourceId: 3 }
    expect(added.columns.map(({ name, sourceId }) => [name, sourceId])).toEqual([
      ['code_old', undefined],
      ['id', 4],
      ['code', undefined],
    ])
    expect([...matchFields([field], added.columns)]).toEqual([2])
  })

  test('whatever is asked for, ids stay with their fields and none is used again', () => {
    const columns = fc.constantFrom('ts', 'n', 's', 's.x', 's.y', 'l.element.z', 'm.value', 'q', 's.q', 'l.element.q')
    const changes = fc.oneof(
      fc.tuple(columns, fc.constantFrom('int', 'long', 'list<int>')).map(([column, type]) => `add ${column} ${type}`),
      columns.map((column) => `drop ${column}`),
      columns.map((column) => `optional ${column}`),
      fc.tuple(columns, fc.constantFrom('a', 'q', 'n', 'x')).map(([column, to]) => `rename ${column} ${to}`),
      columns.map((column) => `type ${column} long`),
    )
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 12 }), (history) => {
        let table = tableOf(TABLE)
        const gone = new Set<number>()
        for (const change of history) {
          const plan = planColumnChange(table, NEEDED, changeOf(change), LIMITS)
          if (plan.kind === 'refused') continue
          const idsOf = (fields: readonly Field[]) =>
            new Set(fields.flatMap((field) => [...fieldsWithin(field)].map(({ fieldId }) => fieldId)))
          const [before, now] = [idsOf(table.columns), idsOf(plan.columns)]
          for (const id of before) if (!now.has(id)) gone.add(id)
          for (const id of now) {
            expect(gone.has(id)).toBe(false)
            expect(before.has(id) || id > table.lastFieldId).toBe(true)
          }
          table = { ...table, columns: plan.columns, lastFieldId: Math.max(table.lastFieldId, ...now) }
        }
      }),
    )
  })
})
