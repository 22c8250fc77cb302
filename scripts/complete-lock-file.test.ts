/** The lock file works on every platform, and its completion does what npm needs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { completeLockFile, type LockFile, lockFileProblems } from './complete-lock-file.ts'

const root = join(import.meta.dirname, '..')
const readJson = <T>(name: string) => JSON.parse(readFileSync(join(root, name), 'utf8')) as T

describe('package-lock.json', () => {
  it('has every optional platform package, every dependency, and no address', () => {
    expect(lockFileProblems(readJson<LockFile>('package-lock.json'), readJson('package.json'))).toEqual([])
  })

  it('names the DuckDB bindings of every platform', () => {
    const names = Object.keys(readJson<LockFile>('package-lock.json').packages)
    for (const platform of ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64', 'win32-x64']) {
      expect(names).toContain(`node_modules/@duckdb/node-bindings-${platform}`)
    }
  })
})

describe('completing a lock file', () => {
  const broken: LockFile = {
    packages: {
      '': { dependencies: { a: '1.0.0' } },
      'node_modules/a': {
        version: '1.0.0',
        dev: true,
        resolved: 'https://registry.example/a.tgz',
        optionalDependencies: { '@a/b-linux-arm64-musl': '1.0.0', 'a-darwin-x64': '1.0.0' },
      },
      'node_modules/a-darwin-x64': { version: '1.0.0', optional: true },
    },
  }

  it('finds what is missing', () => {
    expect(lockFileProblems(broken, { dependencies: { a: '1.0.0', z: '2.0.0' } })).toEqual([
      'node_modules/a names @a/b-linux-arm64-musl, which has no entry',
      'node_modules/a has an address (resolved)',
      'package.json has z 2.0.0, the lock file nothing',
    ])
  })

  it('adds it with its platform, and once', () => {
    const completed = completeLockFile(broken)
    expect(completed.packages['node_modules/@a/b-linux-arm64-musl']).toEqual({
      version: '1.0.0',
      cpu: ['arm64'],
      libc: ['musl'],
      os: ['linux'],
      dev: true,
      optional: true,
    })
    expect(completed.packages['node_modules/a'].resolved).toBeUndefined()
    expect(lockFileProblems(completed, { dependencies: { a: '1.0.0' } })).toEqual([])
    expect(completeLockFile(completed)).toEqual(completed)
  })
})
