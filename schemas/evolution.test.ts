import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ColumnType, type Field, fieldsWithin, formatColumnType, parseColumnType } from './column-type.ts'
import {
  type Change,
  describeChanges,
  droppedFields,
  type EvolutionPlan,
  type EvolvingTable,
  planEvolution,
  renamed,
  wholeRecord,
} from './evolution.ts'
import { matchFields } from './match-fields.ts'
import type { RecordField, RecordSchema } from './record-schema.ts'

const LIMITS = { columnsMax: 1000 }

function typeOf(text: string): ColumnType {
  const type = parseColumnType(text)
  if (!type) throw new Error(`no type: ${text}`)
  return type
}

/** `a: long required, b: struct<c: int>` with the ids that a new table gives them. */
function tableOf(columns: string, more: Partial<EvolvingTable> = {}): EvolvingTable {
  const made = planEvolution(emptyTable(), recordOf(columns), LIMITS)
  const fields = made.kind === 'evolve' ? made.columns : []
  const required = new Map(recordOf(columns).fields.map((field) => [field.name, field.required]))
  return {
    ...emptyTable(),
    columns: fields.map((field) => ({ ...field, required: required.get(field.name) === true })),
    lastFieldId: largestId(fields),
    ...more,
  }
}

function emptyTable(): EvolvingTable {
  return { name: 't', columns: [], lastFieldId: 15, dropped: new Map(), reservedNames: [] }
}

function recordOf(fields: string, more: Partial<Record<string, Partial<RecordField>>> = {}): RecordSchema {
  if (fields === '') return { name: 'v', fields: [] }
  const type = typeOf(`struct<${fields}>`)
  return {
    name: 'v',
    fields: type.kind === 'struct' ? type.fields.map((field) => ({ ...field, ...more[field.name] })) : [],
  }
}

function largestId(columns: readonly Field[]): number {
  return Math.max(15, ...columns.flatMap((column) => [...fieldsWithin(column)].map(({ fieldId }) => fieldId)))
}

function text(columns: readonly Field[]): string {
  return formatColumnType({ kind: 'struct', fields: columns }).slice('struct<'.length, -1)
}

function applied(table: EvolvingTable, plan: EvolutionPlan): EvolvingTable {
  if (plan.kind !== 'evolve') return table
  return { ...table, columns: plan.columns, lastFieldId: Math.max(table.lastFieldId, largestId(plan.columns)) }
}

function evolved(before: string, record: string, more: Partial<Record<string, Partial<RecordField>>> = {}) {
  const plan = planEvolution(tableOf(before), recordOf(record, more), LIMITS)
  if (plan.kind === 'refused') return plan.reason
  return plan.kind === 'same' ? 'same' : text(plan.columns)
}

describe('what records may want of a table', () => {
  test.each([
    ['a: int', 'a: int', 'same'],
    ['a: long', 'a: int', 'same'],
    ['a: decimal(12,2)', 'a: decimal(10,2)', 'same'],
    ['a: long, b: string', 'a: long', 'same'],
    ['a: int', 'a: int, b: string required', 'a: int, b: string'],
    ['a: int', 'a: long', 'a: long'],
    ['a: float', 'a: double', 'a: double'],
    ['a: decimal(10,2)', 'a: decimal(12,2)', 'a: decimal(12,2)'],
    ['a: int required', 'a: long', 'a: long'],
    ['a: int required', 'a: long required', 'a: long required'],
    ['s: struct<a: int>', 's: struct<b: string>', 's: struct<a: int, b: string>'],
    ['s: struct<a: struct<x: int>>', 's: struct<a: struct<x: long>>', 's: struct<a: struct<x: long>>'],
    ['l: list<int>', 'l: list<long>', 'l: list<long>'],
    ['l: list<struct<a: int>>', 'l: list<struct<b: date>>', 'l: list<struct<a: int, b: date>>'],
    ['m: map<string, int>', 'm: map<string, long>', 'm: map<string, long>'],
    ['a: int', 'n: list<long required>', 'a: int, n: list<long>'],
    ['a: int', 'A: int', 'same'],
  ])('%s with records of %s: %s', (before, record, after) => {
    expect(evolved(before, record)).toBe(after)
  })

  test.each([
    ['a: int', 'a: string'],
    ['a: long', 'a: double'],
    ['a: long', 'a: decimal(20,0)'],
    ['a: decimal(10,2)', 'a: decimal(12,3)'],
    ['a: string', 'a: json'],
    ['a: timestamp', 'a: timestamptz'],
    ['a: struct<x: int>', 'a: list<int>'],
    ['a: map<string, int>', 'a: struct<x: int>'],
    ['m: map<string, int>', 'm: map<long, int>'],
    ['s: struct<a: int, b: int>', 's: struct<b: string, c: int>'],
  ])('%s with records of %s is refused', (before, record) => {
    expect(planEvolution(tableOf(before), recordOf(record), LIMITS)).toMatchObject({ kind: 'refused' })
  })

  test('a refusal names the column, both types, and what can be done', () => {
    expect(evolved('s: struct<zip: long>', 's: struct<zip: string>')).toBe(
      'column "s.zip" of table "t" is long, in v it is string, which it cannot become: send long, or another field name; or make room for the new type with "millrace columns t rename s.zip s.zip_old" and "millrace columns t add s.zip string"',
    )
  })

  test('fields are numbered after all that ever were, parents before what is in them', () => {
    const table = { ...tableOf('a: int'), lastFieldId: 40 }
    const plan = planEvolution(table, recordOf('s: struct<x: int, y: list<int>>, b: int'), LIMITS)
    const ids = plan.kind === 'evolve' ? plan.columns.flatMap((each) => [...fieldsWithin(each)]) : []
    expect(ids.map(({ name, fieldId }) => `${name} ${fieldId}`)).toEqual([
      'a 16',
      's 41',
      'x 43',
      'y 44',
      'element 45',
      'b 42',
    ])
  })
})

describe('renames', () => {
  test('a known number under another name keeps the column, and the old name stays known', () => {
    const table = applied(emptyTable(), planEvolution(emptyTable(), recordOf('a: int', { a: { sourceId: 1 } }), LIMITS))
    const plan = planEvolution(table, recordOf('b: int', { b: { sourceId: 1 } }), LIMITS)
    expect(plan).toMatchObject({
      kind: 'evolve',
      columns: [{ fieldId: 16, name: 'b', formerNames: ['a'] }],
      changes: [{ kind: 'rename', path: ['a'], to: 'b' }],
    })
    // Records of before go on coming: nothing is renamed to and fro.
    const after = applied(table, plan)
    expect(planEvolution(after, recordOf('a: int', { a: { sourceId: 1 } }), LIMITS).kind).toBe('same')
    expect(planEvolution(after, recordOf('b: int', { b: { sourceId: 1 } }), LIMITS).kind).toBe('same')
  })

  test('an alias names the column that is meant, in structs too', () => {
    expect(evolved('a: int', 'b: int', { b: { aliases: ['a'] } })).toBe('b: int')
    expect(evolved('a: int, b: int', 'b: int', { b: { aliases: ['a'] } })).toBe('same')
    const inside = recordOf('s: struct<y: int>')
    const [s] = inside.fields
    const y = s.type.kind === 'struct' ? { ...s.type.fields[0], aliases: ['x'] } : s
    const plan = planEvolution(
      tableOf('s: struct<x: int>'),
      { name: 'v', fields: [{ ...s, type: { kind: 'struct', fields: [y] } }] },
      LIMITS,
    )
    expect(plan).toMatchObject({ changes: [{ kind: 'rename', path: ['s', 'x'], to: 'y' }] })
  })

  test('the newer version first: its aliases are known when the older one comes', () => {
    const table = applied(
      emptyTable(),
      planEvolution(emptyTable(), recordOf('b: int', { b: { aliases: ['a'] } }), LIMITS),
    )
    expect(planEvolution(table, recordOf('a: int'), LIMITS).kind).toBe('same')
  })

  test('two may swap their names; one that would meet another column or a hidden one keeps its own', () => {
    const numbers = { a: { sourceId: 1 }, b: { sourceId: 2 } }
    const table = applied(emptyTable(), planEvolution(emptyTable(), recordOf('a: int, b: int', numbers), LIMITS))
    const swap = { a: { sourceId: 2 }, b: { sourceId: 1 } }
    expect(planEvolution(table, recordOf('a: int, b: int', swap), LIMITS)).toMatchObject({
      columns: [
        { fieldId: 16, name: 'b' },
        { fieldId: 17, name: 'a' },
      ],
    })
    expect(planEvolution(table, recordOf('B: int', { B: { sourceId: 1 } }), LIMITS).kind).toBe('same')
    expect(planEvolution(table, recordOf('_offset: int', { _offset: { sourceId: 1 } }), LIMITS).kind).toBe('same')
  })

  test('a schema that has a name and the one of before has two fields; keys are one', () => {
    const table = tableOf('a: int')
    const both = { ...table, columns: [renamed(table.columns[0], 'b')] }
    expect(planEvolution(both, recordOf('a: int, b: int'), LIMITS)).toMatchObject({
      changes: [{ kind: 'add', path: ['a'] }],
    })
    expect(planEvolution(both, recordOf('a: int, b: int'), { ...LIMITS, areKeys: true }).kind).toBe('same')
  })

  test('a name of before that is renamed again goes with the column', () => {
    const field: Field = { fieldId: 16, name: 'a', type: { kind: 'int' }, required: false }
    expect(renamed(renamed(field, 'b'), 'c').formerNames).toEqual(['a', 'b'])
    expect(renamed(renamed(field, 'b'), 'a').formerNames).toEqual(['b'])
  })
})

describe('fields that become no column', () => {
  const ignoredOf = (table: EvolvingTable, record: RecordSchema, limits = LIMITS) => {
    const plan = planEvolution(table, record, limits)
    return plan.kind === 'refused' ? plan.reason : plan.ignored.map(({ path, why }) => `${path.join('/')} ${why}`)
  }

  test('names of hidden columns and partition fields, names that differ in case only, empty and endless ones', () => {
    const table = tableOf('a: int', { reservedNames: ['ts_day'] })
    const names = ['_source', '_Offset', 'TS_DAY', 'b', 'B', '', 'x'.repeat(256), 'tab\t']
    const fields = names.map((name) => ({ fieldId: 0, name, type: typeOf('int'), required: false }))
    expect(ignoredOf(table, { name: 'v', fields })).toEqual([
      '_source name-taken',
      '_Offset name-taken',
      'TS_DAY name-taken',
      'B name-taken',
      ' name-impossible',
      `${'x'.repeat(256)} name-impossible`,
      'tab\t name-impossible',
    ])
  })

  test('more columns than a table may have, counted inside structs too', () => {
    const limits = { columnsMax: 3 }
    expect(
      ignoredOf(tableOf('a: int'), recordOf('s: struct<x: int, y: int, z: int>, b: int, c: int, d: int'), limits),
    ).toEqual(['s columns-max', 'd columns-max'])
  })

  test('what a human dropped, under each name that it had, and by its number', () => {
    const first = tableOf('a: int, s: struct<x: int, y: int>')
    const dropped = droppedFields([
      { schemaId: 0, columns: [{ ...first.columns[0], sourceId: 9 }, first.columns[1]] },
      { schemaId: 1, columns: [renamed({ ...first.columns[0], sourceId: 9 }, 'b'), first.columns[1]] },
      {
        schemaId: 2,
        columns: tableOf('s: struct<x: int>').columns.map((each) => ({
          ...each,
          fieldId: 17,
          type:
            first.columns[1].type.kind === 'struct'
              ? { kind: 'struct' as const, fields: first.columns[1].type.fields.slice(0, 1) }
              : each.type,
        })),
      },
    ])
    const table = { ...first, columns: first.columns.slice(1), dropped }
    expect(ignoredOf(table, recordOf('a: int, B: int, c: int, y: long', { c: { sourceId: 9 } }))).toEqual([
      'a dropped',
      'B dropped',
      'c dropped',
    ])
  })
})

describe('wholeRecord', () => {
  test('a required column that the record lacks becomes optional, in structs too', () => {
    const table = tableOf('a: int required, b: int required')
    const whole = wholeRecord(table.columns, recordOf('b: int required').fields)
    const plan = planEvolution(table, { name: 'v', fields: whole }, LIMITS)
    expect(plan).toMatchObject({ changes: [{ kind: 'optional', path: ['a'] }] })
  })
})

// ---- properties ------------------------------------------------------------------------------------------------------

const NAMES = ['a', 'b', 'c', 'd']
const leafTypes = fc.constantFrom(
  'int',
  'long',
  'float',
  'double',
  'string',
  'decimal(5,1)',
  'decimal(9,1)',
  'decimal(9,2)',
)
const types: fc.Arbitrary<string> = fc.letrec<{ type: string }>((tie) => ({
  type: fc.oneof(
    { depthSize: 'small', maxDepth: 2 },
    { weight: 5, arbitrary: leafTypes },
    {
      weight: 1,
      arbitrary: fc
        .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), tie('type')), {
          minLength: 1,
          maxLength: 3,
          selector: ([name]) => name,
        })
        .map((fields) => `struct<${fields.map(([name, type]) => `${name}: ${type}`).join(', ')}>`),
    },
    { weight: 1, arbitrary: tie('type').map((type) => `list<${type}>`) },
    { weight: 1, arbitrary: tie('type').map((type) => `map<string, ${type}>`) },
  ),
})).type
const records = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), types, fc.boolean()), { maxLength: 4, selector: ([name]) => name })
  .map((fields) =>
    recordOf(fields.map(([name, type, required]) => `${name}: ${type}${required ? ' required' : ''}`).join(', ')),
  )

/** What a table looks like that took these records one after the other, refused ones left out: by path, the widest type. */
function modelOf(taken: readonly RecordSchema[]): ReadonlyMap<string, string> {
  const leaves = new Map<string, string>()
  const collect = (path: string, type: ColumnType) => {
    if (type.kind === 'struct') for (const field of type.fields) collect(`${path}.${field.name}`, field.type)
    else if (type.kind === 'list') collect(`${path}[]`, type.element.type)
    else if (type.kind === 'map') collect(`${path}{}`, type.value.type)
    else {
      const before = leaves.get(path)
      const next = formatColumnType(type)
      const wider = ['int', 'long', 'float', 'double', 'decimal(5,1)', 'decimal(9,1)']
      if (before === undefined || wider.indexOf(next) > wider.indexOf(before)) leaves.set(path, next)
    }
  }
  for (const { fields } of taken) for (const { name, type } of fields) collect(name, type)
  return leaves
}

test('a random history: the table is what the records were that it took, and each plan is idempotent', () => {
  fc.assert(
    fc.property(fc.array(records, { maxLength: 6 }), (history) => {
      let table = emptyTable()
      const taken: RecordSchema[] = []
      const given = new Map<number, string>()
      for (const record of history) {
        const before = JSON.stringify(table)
        const plan = planEvolution(table, record, LIMITS)
        expect(JSON.stringify(table)).toBe(before)
        if (plan.kind === 'refused') continue
        taken.push(record)
        const next = applied(table, plan)
        for (const field of next.columns.flatMap((column) => [...fieldsWithin(column)])) {
          // An id is one field's for ever, and what is there stays there.
          expect(given.get(field.fieldId) ?? field.name).toBe(field.name)
          given.set(field.fieldId, field.name)
        }
        const ids = new Set(next.columns.flatMap((column) => [...fieldsWithin(column)].map(({ fieldId }) => fieldId)))
        expect(ids.size).toBe(given.size)
        expect(planEvolution(next, record, LIMITS)).toEqual({ kind: 'same', ignored: [] })
        table = next
      }
      expect(modelOf([{ name: 'table', fields: table.columns }])).toEqual(modelOf(taken))
    }),
  )
})

test('two that add at once: whoever is first, the table has the same columns', () => {
  fc.assert(
    fc.property(records, records, records, (base, one, other) => {
      const start = applied(emptyTable(), planEvolution(emptyTable(), base, LIMITS))
      const both = (first: RecordSchema, second: RecordSchema) => {
        const middle = planEvolution(start, first, LIMITS)
        const end = planEvolution(applied(start, middle), second, LIMITS)
        if (middle.kind === 'refused' || end.kind === 'refused') return undefined
        return modelOf([{ name: 'table', fields: applied(applied(start, middle), end).columns }])
      }
      expect(both(one, other)).toEqual(both(other, one))
    }),
  )
})

test('every field of a record that was taken has its column', () => {
  fc.assert(
    fc.property(records, records, (base, record) => {
      const start = applied(emptyTable(), planEvolution(emptyTable(), base, LIMITS))
      const plan = planEvolution(start, record, LIMITS)
      if (plan.kind === 'refused') return
      expect([...matchFields(record.fields, applied(start, plan).columns)]).not.toContain(-1)
    }),
  )
})

test('changes are told in words', () => {
  const changes: Change[] = [
    { kind: 'add', path: ['s', 'x'], type: typeOf('list<int>') },
    { kind: 'widen', path: ['a'], from: typeOf('int'), to: typeOf('long') },
    { kind: 'optional', path: ['a'] },
    { kind: 'rename', path: ['a'], to: 'b' },
  ]
  expect(describeChanges(changes)).toBe(
    'added s.x list<int>, widened a from int to long, made a optional, renamed a to b',
  )
})
