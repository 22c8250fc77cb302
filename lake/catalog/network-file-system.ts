/**
 * Whether a folder lies on another machine. SQLite's locks and its shared memory work for the processes of one host on its
 * own disk; on a network file system two hosts may both believe that they hold the write lock. Known by the kernel's number
 * of the file system (Linux); elsewhere nothing is said.
 */
import { existsSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'

/** `f_type` of statfs(2). */
const NETWORK_TYPES: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xfe534d42, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0x65735546, 'FUSE'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
  [0x0bd00bd0, 'Lustre'],
])

export function networkFileSystemName(type: number): string | undefined {
  // Some kernels give the number as a signed one.
  return NETWORK_TYPES.get(type >>> 0)
}

/** Of the nearest folder that exists. */
export function networkFileSystemOf(path: string, platform: NodeJS.Platform = process.platform): string | undefined {
  if (platform !== 'linux') return undefined
  let folder = dirname(path)
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder)
  return networkFileSystemName(statfsSync(folder).type)
}
