/** Rows that DuckDB has written as text (`text-sql.ts`): their bytes one behind the other, and what stands around them. */
import { textsOf } from './raw-vectors.ts'
import type { ResultEncoder } from './result-text.ts'

/** `head`: before the first row. `cut`: bytes of the first row that do not belong there. */
export function createRowsEncoder(head: Uint8Array | undefined, cut: number): ResultEncoder {
  let isFirst = true
  return {
    begin: () => head,
    encode(chunk, rowCount) {
      const { bytes } = textsOf(chunk.getColumnVector(0), rowCount, undefined)
      const from = isFirst ? cut : 0
      isFirst = false
      return bytes.subarray(from)
    },
    end: () => undefined,
  }
}
