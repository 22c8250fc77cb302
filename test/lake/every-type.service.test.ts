// Every column type with nulls and extremes, sent as JSON, in a segment and after compaction: the same value and type in
// DuckDB and pyiceberg (G-8).
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localFileOf } from '../../lake/object-store/object-path.ts'
import { duckdbExtensionFile, runPython } from '../harness/python.ts'
import { type Lake, openLake, SMALL_STEPS } from './open-lake.ts'

type Case = {
  readonly name: string
  readonly type: string
  readonly iceberg: string
  readonly duckdb: string
  /** JSON text → what engines say of it, as `every-type.py` writes it. */
  readonly values: readonly (readonly [string, string | null])[]
}

const micros = (text: string, fraction = 0) => String(BigInt(Date.parse(text)) * 1000n + BigInt(fraction))
const FIRST = micros('0001-01-01T00:00:00Z')
const LAST = micros('9999-12-31T23:59:59Z', 999_999)
const nines = (count: number) => '9'.repeat(count)

function decimal(precision: number, scale: number): Case {
  const digits = nines(precision)
  const point = (whole: string) => {
    const padded = whole.padStart(scale + 1, '0')
    return scale === 0 ? padded : `${padded.slice(0, -scale)}.${padded.slice(-scale)}`
  }
  return {
    name: `decimal_${precision}_${scale}`,
    type: `decimal(${precision},${scale})`,
    iceberg: `decimal(${precision}, ${scale})`,
    duckdb: `DECIMAL(${precision},${scale})`,
    values: [
      [`"${point(digits)}"`, point(digits)],
      [`-${point(digits)}`, `-${point(digits)}`],
      [`"-${point('1')}"`, `-${point('1')}`],
      ['0', point('0')],
    ],
  }
}

const CASES: readonly Case[] = [
  {
    name: 'flag',
    type: 'boolean',
    iceberg: 'boolean',
    duckdb: 'BOOLEAN',
    values: [
      ['true', 'true'],
      ['false', 'false'],
    ],
  },
  {
    name: 'whole',
    type: 'int',
    iceberg: 'int',
    duckdb: 'INTEGER',
    values: [
      ['-2147483648', '-2147483648'],
      ['2147483647', '2147483647'],
      ['0', '0'],
    ],
  },
  {
    name: 'wide',
    type: 'long',
    iceberg: 'long',
    duckdb: 'BIGINT',
    values: [
      ['-9223372036854775808', '-9223372036854775808'],
      ['9223372036854775807', '9223372036854775807'],
      ['9007199254740993', '9007199254740993'],
    ],
  },
  {
    name: 'ratio',
    type: 'float',
    iceberg: 'float',
    duckdb: 'FLOAT',
    values: [
      ['3.4028234663852886e38', '3.4028234663852886e+38'],
      ['1e-45', '1.401298464324817e-45'],
      ['-0.0', '-0.0'],
      ['0.1', '0.10000000149011612'],
    ],
  },
  {
    name: 'score',
    type: 'double',
    iceberg: 'double',
    duckdb: 'DOUBLE',
    values: [
      ['1.7976931348623157e308', '1.7976931348623157e+308'],
      ['5e-324', '5e-324'],
      ['-0.0', '-0.0'],
      ['0.1', '0.1'],
    ],
  },
  decimal(1, 0),
  decimal(4, 4),
  decimal(9, 2),
  decimal(10, 2),
  decimal(18, 18),
  decimal(19, 5),
  decimal(28, 10),
  decimal(38, 0),
  decimal(38, 10),
  decimal(38, 38),
  {
    name: 'day',
    type: 'date',
    iceberg: 'date',
    duckdb: 'DATE',
    values: [
      ['"0001-01-01"', '0001-01-01'],
      ['"1969-12-31"', '1969-12-31'],
      ['"2024-02-29"', '2024-02-29'],
      ['"9999-12-31"', '9999-12-31'],
    ],
  },
  {
    name: 'at',
    type: 'time',
    iceberg: 'time',
    duckdb: 'TIME',
    values: [
      ['"00:00:00"', '00:00:00.000000'],
      ['"23:59:59.999999"', '23:59:59.999999'],
      ['"12:34:56.7"', '12:34:56.700000'],
    ],
  },
  {
    name: 'local',
    type: 'timestamp',
    iceberg: 'timestamp',
    duckdb: 'TIMESTAMP',
    values: [
      ['"0001-01-01T00:00:00"', FIRST],
      ['"9999-12-31T23:59:59.999999"', LAST],
      ['"1969-12-31 23:59:59.999999"', '-1'],
      ['"2024-06-01T12:00:00.000001"', micros('2024-06-01T12:00:00Z', 1)],
    ],
  },
  {
    name: 'instant',
    type: 'timestamptz',
    iceberg: 'timestamptz',
    duckdb: 'TIMESTAMP WITH TIME ZONE',
    values: [
      ['"0001-01-01T00:00:00Z"', FIRST],
      ['"9999-12-31T23:59:59.999999Z"', LAST],
      ['"1970-01-01T05:29:59.999999+05:30"', '-1'],
      ['"2024-06-01T12:00:00-07:00"', micros('2024-06-01T19:00:00Z')],
    ],
  },
  {
    name: 'name',
    type: 'string',
    iceberg: 'string',
    duckdb: 'VARCHAR',
    values: [
      ['""', ''],
      ['"a\\u0000b"', 'a\0b'],
      ['"\\ud83d\\ude80 ü \\"q\\" \\\\ \\n"', '🚀 ü "q" \\ \n'],
      [`"${'long '.repeat(20_000)}"`, 'long '.repeat(20_000)],
    ],
  },
  {
    name: 'key',
    type: 'uuid',
    iceberg: 'uuid',
    duckdb: 'UUID',
    values: [
      ['"00000000-0000-0000-0000-000000000000"', '00000000-0000-0000-0000-000000000000'],
      ['"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"', 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
      ['"80000000-0000-4000-8000-00000000abcd"', '80000000-0000-4000-8000-00000000abcd'],
    ],
  },
  {
    name: 'raw',
    type: 'binary',
    iceberg: 'binary',
    duckdb: 'BLOB',
    values: [
      ['""', ''],
      ['"AP8="', '00ff'],
      [`"${Buffer.alloc(300, 0xfe).toString('base64')}"`, 'fe'.repeat(300)],
    ],
  },
  {
    name: 'doc',
    type: 'json',
    iceberg: 'string',
    duckdb: 'VARCHAR',
    values: [
      ['{"a":[1,{"b":null}],"ü":"\\u00fc"}', '{"a":[1,{"b":null}],"ü":"\\u00fc"}'],
      ['[1.50,12345678901234567890]', '[1.50,12345678901234567890]'],
      ['"text"', '"text"'],
      ['{}', '{}'],
    ],
  },
]

const ROWS = 6
/** Row 4 has null in every column, row 5 no key at all. */
function line(row: number): string {
  const fields = CASES.flatMap(({ name, values }) => {
    if (row === ROWS - 1) return []
    return [`"${name}": ${row === ROWS - 2 ? 'null' : (values[row]?.[0] ?? 'null')}`]
  })
  return `{"id": ${row}${fields.map((field) => `, ${field}`).join('')}}`
}
const expectedValues = Object.fromEntries(
  CASES.map(({ name, values }) => [name, Array.from({ length: ROWS }, (_, row) => values[row]?.[1] ?? null)]),
)
const expectedTypes = {
  pyiceberg: Object.fromEntries(CASES.map(({ name, iceberg }, index) => [name, `${17 + index} ${iceberg}`])),
  duckdb: Object.fromEntries(CASES.map(({ name, duckdb }) => [name, duckdb])),
}
const HIDDEN_TYPES = {
  pyiceberg: {
    id: '16 long required',
    _source: '1 string required',
    _partition: '2 int required',
    _offset: '3 long required',
    _timestamp: '4 timestamptz',
    _arrived: '5 timestamptz required',
  },
  duckdb: {
    id: 'BIGINT',
    _source: 'VARCHAR',
    _partition: 'INTEGER',
    _offset: 'BIGINT',
    _timestamp: 'TIMESTAMP WITH TIME ZONE',
    _arrived: 'TIMESTAMP WITH TIME ZONE',
  },
}

type Seen = { readonly types: Record<string, string>; readonly values: Record<string, (string | null)[]> }

let lake: Lake
let extensions: Record<string, string>
beforeAll(async () => {
  const columns = CASES.map(({ name, type }) => `${name}: "${type}"`).join(', ')
  lake = await openLake(`${SMALL_STEPS}
tables:
  everything:
    columns: { id: long required, ${columns} }
    sort: [id]
`)
  extensions = { avro: await duckdbExtensionFile('avro'), iceberg: await duckdbExtensionFile('iceberg') }
  await lake.millrace.start('ingest')
  const { status, body } = await lake.millrace.ingest(
    'everything',
    Array.from({ length: ROWS }, (_, row) => line(row)).join('\n'),
  )
  expect({ status, body }).toMatchObject({ status: 200, body: { rows: ROWS } })
})
afterAll(async () => {
  await lake?.close()
})

async function look(kind: 'segment' | 'table', place: string): Promise<Record<'pyiceberg' | 'duckdb', Seen>> {
  const answer = await runPython({ file: join(import.meta.dirname, 'every-type.py') }, [
    kind,
    place,
    JSON.stringify({ extensions }),
  ])
  return answer as Record<'pyiceberg' | 'duckdb', Seen>
}

function expectEverything(seen: Record<'pyiceberg' | 'duckdb', Seen>): void {
  for (const engine of ['pyiceberg', 'duckdb'] as const) {
    expect(seen[engine].types).toEqual({ ...HIDDEN_TYPES[engine], ...expectedTypes[engine] })
    const { values } = seen[engine]
    for (const { name } of CASES) expect({ [name]: values[name] }).toEqual({ [name]: expectedValues[name] })
    expect(values._offset).toEqual(['0', '1', '2', '3', '4', '5'])
    expect(values._timestamp).toEqual(Array(ROWS).fill(null))
    expect(new Set(values._partition)).toEqual(new Set(['0']))
  }
  expect(seen.duckdb.values._arrived).toEqual(seen.pyiceberg.values._arrived)
  expect(seen.duckdb.values._source).toEqual(seen.pyiceberg.values._source)
}

describe('every column type keeps value and type', () => {
  test('in a segment, then in the compacted table', async () => {
    const { segments } = await lake.live('everything')
    expect(segments).toHaveLength(1)
    expectEverything(await look('segment', localFileOf(segments[0])))

    await lake.startCompactor()
    await lake.settled(['everything'])
    const { metadataLocation } = await lake.table('everything')
    expectEverything(await look('table', metadataLocation as string))
  })
})
