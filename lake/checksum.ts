/**
 * The checksum of every file that Millrace writes: CRC32C over all of its bytes, as eight lower-case hex digits. It stands
 * in the file or row that refers to the file, never in the file itself, so that a file which was replaced as a whole is
 * noticed too (ADR 17 says where). Processors have an instruction for it: 8 to 13 GB/s here, 8 µs for a segment of 100 kB.
 */
import { open } from 'node:fs/promises'
import { crc32c } from '@node-rs/crc32'

const BLOCK_BYTES = 1 << 20

export type RunningChecksum = {
  add(bytes: Uint8Array): void
  text(): string
}

export function checksumOf(bytes: Uint8Array): string {
  return hex(crc32c(bytes))
}

/** Of bytes that come in pieces. */
export function runningChecksum(): RunningChecksum {
  let state = 0
  return {
    add(bytes) {
      state = crc32c(bytes, state)
    },
    text: () => hex(state),
  }
}

/** Of a file of this machine, read once in blocks. */
export async function checksumOfFile(localFile: string): Promise<string> {
  const checksum = runningChecksum()
  const block = new Uint8Array(BLOCK_BYTES)
  const handle = await open(localFile, 'r')
  try {
    for (;;) {
      const { bytesRead } = await handle.read(block, 0, block.length)
      if (bytesRead === 0) return checksum.text()
      checksum.add(block.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
