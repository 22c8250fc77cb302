import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { networkFileSystemName, networkFileSystemOf } from './network-file-system.ts'

test('file systems of other machines are known by their number, also as the kernel signs it', () => {
  expect(networkFileSystemName(0x6969)).toBe('NFS')
  expect(networkFileSystemName(0xff534d42)).toBe('CIFS')
  expect(networkFileSystemName(0xff534d42 - 2 ** 32)).toBe('CIFS')
  expect(networkFileSystemName(0x65735546)).toBe('FUSE')
  expect(networkFileSystemName(0xef53)).toBeUndefined()
})

test('a file that is not there yet counts by its nearest folder', () => {
  expect(networkFileSystemOf(join(tmpdir(), 'not', 'there', 'yet', 'catalog.db'))).toBeUndefined()
  expect(networkFileSystemOf('/proc/self/x', 'darwin')).toBeUndefined()
})
