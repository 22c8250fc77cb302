// What a request asks for, read strictly: JSON that two programs could read differently, weights of Accept, fields and their
// places, hints.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../schemas/errors.ts'
import { acceptedFormat, takesGzip } from './accept.ts'
import { hintFor, nearest } from './error-hints.ts'
import { atVersionsOf, type HttpInput, readSqlRequest, waitForOf } from './sql-request.ts'
import { strictJson, strictText } from './strict-json.ts'

describe('JSON', () => {
  test('any JSON is read as JSON.parse reads it, but for whole numbers, which keep their digits', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        fc.pre(!text.includes('__proto__'))
        const rounded = JSON.stringify(strictJson(text, 'it'), (_, value: unknown) =>
          typeof value === 'bigint' ? Number(value) : value,
        )
        expect(rounded).toBe(JSON.stringify(JSON.parse(text)))
      }),
    )
    expect(strictJson('[9007199254740993, -170141183460469231731687303715884105728, 1.5]', 'it')).toEqual([
      9007199254740993n,
      -170141183460469231731687303715884105728n,
      1.5,
    ])
  })

  test.each([
    ['{"a": 1, "a": 2}', 'twice'],
    ['{"x": {"a": 1, "\\u0061": 2}}', 'twice'],
    ['[{"a": 1}, {"b": {"c": 1, "d": 2, "c": 3}}]', 'twice'],
    ['{"__proto__": 1}', '__proto__'],
    ['{"a": {"__proto\\u005f_": 1}}', '__proto__'],
    ['["\\ud800"]', 'surrogate'],
    ['{"\\udc00x": 1}', 'surrogate'],
    ['['.repeat(65), 'deeper'],
    [`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 'deeper'],
    ['{"a": 1e400}', 'too large'],
    ['{"a": 1,}', 'expected JSON'],
    ['{"a\n": 1}', 'expected JSON'],
    ['"', 'expected JSON'],
    ['', 'expected JSON'],
    ['{"a": NaN}', 'expected JSON'],
  ])('%.40s is refused', (text, message) => {
    expect(() => strictJson(text, 'the body')).toThrow(expect.objectContaining({ code: 'request-invalid' }))
    expect(() => strictJson(text, 'the body')).toThrow(message)
  })

  test('the same key in two objects is no fault, nor a key that looks like a value', () => {
    expect(strictJson('[{"a": "a"}, {"a": ["a", "a"]}, {"b": "x\\"y", "x": 1}]', 'it')).toEqual([
      { a: 'a' },
      { a: ['a', 'a'] },
      { b: 'x"y', x: 1 },
    ])
  })

  test('bytes are UTF-8 or refused; a byte order mark is left out', () => {
    expect(strictText(Buffer.from('\ufeffSELECT \u{1f986}'))).toBe('SELECT \u{1f986}')
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) {
      expect(() => strictText(Uint8Array.from(bytes))).toThrow('UTF-8')
    }
  })
})

describe('Accept', () => {
  test.each([
    [undefined, 'json'],
    ['', 'json'],
    ['*/*', 'json'],
    ['text/csv', 'csv'],
    ['Text/CSV; charset=utf-8', 'csv'],
    ['text/tab-separated-values', 'tsv'],
    ['application/x-jsonlines', 'jsonl'],
    ['application/vnd.apache.parquet', 'parquet'],
    ['text/csv;q=0.5, application/json;q=0.4', 'csv'],
    ['text/csv;q=0.4, application/x-ndjson; q=0.9, */*;q=0.1', 'jsonl'],
    ['*/*, application/vnd.apache.arrow.stream', 'arrow'],
    ['application/json;q=0, */*', 'jsonl'],
    ['text/*', 'csv'],
    ['text/*, text/csv;q=0', 'tsv'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'json'],
    ['text/csv;q=7, text/tab-separated-values;q=0.1', 'tsv'],
    [',,', 'json'],
  ])('%s → %s', (accept, format) => {
    expect(acceptedFormat(accept)).toBe(format)
  })

  test.each(['image/png', 'application/json;q=0', 'text/html', '*/*;q=0'])('%s: none of ours', (accept) => {
    expect(() => acceptedFormat(accept)).toThrow(expect.objectContaining({ code: 'not-acceptable', status: 406 }))
  })

  test.each([
    [undefined, false],
    ['gzip', true],
    ['gzip, deflate, br', true],
    ['br', false],
    ['gzip;q=0', false],
    ['gzip;q=0.0, *', false],
    ['*', true],
    ['*;q=0', false],
    ['identity, gzip;q=0.5', false],
    ['identity;q=0.5, gzip', true],
    ['x-gzip', true],
  ])('Accept-Encoding %s: gzip %s', (header, taken) => {
    expect(takesGzip(header)).toBe(taken)
  })
})

function read(input: Partial<HttpInput>) {
  return readSqlRequest({ contentType: 'application/json', accept: undefined, body: undefined, query: {}, ...input })
}

describe('fields', () => {
  test('from a body, from a text with URL parameters, from the URL alone', () => {
    expect(read({ body: { sql: 'SELECT 1', max_rows: 5 } })).toMatchObject({
      sql: 'SELECT 1',
      max_rows: 5,
      format: 'json',
    })
    expect(
      read({ contentType: 'text/plain', body: 'SELECT 1', query: { format: 'tsv', timeout_ms: '7', sources: 'true' } }),
    ).toMatchObject({ sql: 'SELECT 1', format: 'tsv', timeout_ms: 7, sources: true })
    expect(read({ query: { q: 'SELECT $1', params: '[9007199254740993]', timezone: 'Asia/Tokyo' } })).toMatchObject({
      params: [9007199254740993n],
      session: { timezone: 'Asia/Tokyo' },
    })
  })

  test.each<[string, Partial<HttpInput>]>([
    ['a statement in both places', { body: { sql: 'SELECT 1' }, query: { q: 'SELECT 2' } }],
    ['two names for the statement', { query: { q: 'SELECT 1', sql: 'SELECT 2' } }],
    ['a parameter given twice', { query: { q: 'SELECT 1', format: ['csv', 'tsv'] } }],
    ['a JSON text as body', { body: 'SELECT 1' }],
    ['an array as body', { body: [] }],
    ['null as body', { body: null }],
    ['an id with a line break', { body: { sql: 'SELECT 1', query_id: 'a\r\nx-evil: 1' } }],
    ['an unknown field', { body: { sql: 'SELECT 1', sqll: 1 } }],
    ['a format that is none', { query: { q: 'SELECT 1', format: 'xml' } }],
    ['a limit below zero', { query: { q: 'SELECT 1', max_rows: '-1' } }],
    ['a time of zero', { body: { sql: 'SELECT 1', timeout_ms: 0 } }],
    ['sources that is neither', { query: { q: 'SELECT 1', sources: 'yes' } }],
    ['params that are no JSON', { query: { q: 'SELECT 1', params: '{' } }],
    ['a partition that is no number', { body: { sql: 'x', wait_for: { t: { offsets: { topic: { x: 1 } } } } } }],
  ])('%s is refused', (_, input) => {
    expect(() => read(input)).toThrow(expect.objectContaining({ code: 'request-invalid' }))
  })

  test('tables in lower case, each once; versions and offsets with all their digits', () => {
    const given = { flights: 3, Other: '123456789012345678' }
    expect(atVersionsOf({ at_version: given })).toEqual(
      new Map([
        ['flights', 3n],
        ['other', 123456789012345678n],
      ]),
    )
    expect(() => atVersionsOf({ at_version: { t: 1, T: 2 } })).toThrow('named twice')
    const wait = { a: 1, b: { version: 2, offsets: { topic: { '0': 5, '12': '7' } } } }
    expect(waitForOf({ wait_for: wait })).toEqual(
      new Map([
        ['a', { version: 1n, offsets: [] }],
        [
          'b',
          {
            version: 2n,
            offsets: [
              { topic: 'topic', partition: 0, offset: 5n },
              { topic: 'topic', partition: 12, offset: 7n },
            ],
          },
        ],
      ]),
    )
  })
})

describe('hints', () => {
  test('the nearest name, if it is near', () => {
    expect(nearest('orign', ['delay', 'origin'])).toBe('origin')
    expect(nearest('flihgts', ['flights', 'airports'])).toBe('flights')
    expect(nearest('x', ['flights'])).toBeUndefined()
    expect(nearest('CITY', ['flights.city'])).toBe('flights.city')
  })

  test('of tables only those that were given, none that misleads', () => {
    const error = new MillraceError('undefined-table', 'there is no table "fligts"', { facts: { table: 'fligts' } })
    expect(hintFor(error, ['flights'])).toBe('did you mean "flights"?')
    expect(hintFor(error, ['weather'])).toBe('tables here: "weather"')
    expect(hintFor(error, [])).toBeUndefined()
    const refused = new MillraceError('undefined-function', 'Table Function with name read_txt does not exist!', {
      facts: { candidates: ['read_text'] },
    })
    expect(hintFor(refused, [])).toBeUndefined()
    const column = new MillraceError('undefined-column', 'Referenced column "k" not found in FROM clause!', {
      facts: { candidates: ['counter'] },
    })
    expect(hintFor(column, [])).toBe('most like it: "counter"; DESCRIBE lists all columns')
  })
})
