// What DuckDB says of damaged files, in its many words, is `file-damaged`: never a mistake of the user, never a bug of ours.
import { expect, test } from 'vitest'
import { duckdbError } from './duckdb-error.ts'

const said = (exception: string, message: string) =>
  duckdbError(new Error(JSON.stringify({ exception_type: exception, exception_message: message })), 'SELECT 1').code

/** Seen with 1.5.6, of files of five writers with zeroed, flipped and random bytes in their chunks. */
test.each([
  ['Invalid', 'TProtocolException: Invalid data'],
  ['Invalid', 'Failed to decompress GZIP block: data error'],
  ['Invalid', 'Input is invalid/unsupported GZIP stream'],
  ['Invalid', 'Out of buffer'],
  ['Invalid', "don't know what type: "],
  ['Invalid', 'Parquet file is likely corrupted, dictionary offset out of range'],
  ['Invalid', 'Payload value bigger than allowed. Corrupted file?'],
  ['Invalid', 'DBP decode did not find enough values (have 3)'],
  ['Invalid', 'invalid TType'],
  ['Invalid', 'Varint-decoding found too large number'],
  ['Invalid', 'Variable-length int over 10 bytes.'],
  ['Invalid', 'Page size mismatch'],
  ['Invalid', 'DELTA_BYTE_ARRAY on FIXED_LEN_BYTE_ARRAY: decoded length does not match type length'],
  ['Invalid', 'Decode bit width too large'],
  ['Invalid Input', 'Failed to read file "x.parquet": ZSTD Decompression failure'],
  [
    'Invalid Input',
    'The width (200) of the bitpacked data exceeds the supported max width (64), the file might be corrupted.',
  ],
  ['Invalid Input', 'Parquet file has invalid number of miniblocks per block for DELTA_BINARY_PACKED'],
  ['Invalid Input', 'Parquet file has invalid block sizes for DELTA_BINARY_PACKED'],
  ['Invalid Input', 'Invalid string encoding found in Parquet file "x.parquet": value "t\\xAFxt" is not valid UTF8!'],
  ['IO', 'Could not read enough bytes from file "x.parquet": attempted to read 8 bytes from location 3'],
])('%s: %s', (exception, message) => {
  expect(said(exception, message)).toBe('file-damaged')
})

test('what people ask for is still theirs', () => {
  expect(said('Invalid Input', 'Cannot sample a negative number of rows')).toBe('query-invalid')
  expect(said('Out of Range', 'Overflow in addition of INT64')).toBe('value-out-of-range')
})

test('a value that does not fit its format is told in one line', () => {
  const message = 'Could not parse string "now" according to format specifier "%c"\nnow\n^\nError: Expected a number'
  const text = JSON.stringify({ exception_type: 'Invalid Input', exception_message: message })
  expect(duckdbError(new Error(text), 'SELECT 1').message).toBe(
    'Could not parse string "now" according to format specifier "%c": expected a number',
  )
})
