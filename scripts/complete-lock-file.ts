/**
 * Completes package-lock.json after `npm install` on a machine whose registry lacks other platforms' packages: npm then
 * leaves those optional packages out, and `npm ci` refuses the file on every machine. Each missing one gets an entry with
 * version, `optional`, `os` and `cpu`; npm needs no more to skip it or to fetch it.
 *
 *   node scripts/complete-lock-file.ts           mends the file
 *   node scripts/complete-lock-file.ts --check   says what is wrong, exit code 1
 *
 * Addresses of a registry (`resolved`) do not belong in the file: they are this machine's, not the project's.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

type LockEntry = {
  version?: string
  resolved?: string
  integrity?: string
  optional?: boolean
  dev?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  devDependencies?: Record<string, string>
}
export type LockFile = { packages: Record<string, LockEntry> }

const OSES: Readonly<Record<string, string>> = {
  linux: 'linux',
  darwin: 'darwin',
  macos: 'darwin',
  win32: 'win32',
  windows: 'win32',
  android: 'android',
  freebsd: 'freebsd',
  openbsd: 'openbsd',
  netbsd: 'netbsd',
  sunos: 'sunos',
  aix: 'aix',
  openharmony: 'openharmony',
}
const CPUS = ['x64', 'arm64', 'ia32', 'arm', 'ppc64', 's390x', 'riscv64', 'loong64', 'mips64el', 'wasm32']
const EXACT_VERSION = /^\d+\.\d+\.\d+(?:[-+].*)?$/

/** Optional packages that some entry names and the file lacks. */
export function missingOptionals(lock: LockFile): { parent: string; name: string; version: string }[] {
  const missing: { parent: string; name: string; version: string }[] = []
  for (const [parent, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!findEntry(lock, parent, name)) missing.push({ parent, name, version })
    }
  }
  return missing
}

export function lockFileProblems(lock: LockFile, manifest: LockEntry): string[] {
  const problems = missingOptionals(lock).map(({ parent, name }) => `${parent} names ${name}, which has no entry`)
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (entry.resolved !== undefined) problems.push(`${path} has an address (resolved)`)
    for (const name of Object.keys(entry.dependencies ?? {})) {
      if (!findEntry(lock, path, name))
        problems.push(`${path === '' ? 'package.json' : path} needs ${name}, which has no entry`)
    }
  }
  for (const group of ['dependencies', 'devDependencies'] as const) {
    for (const [name, version] of Object.entries(manifest[group] ?? {})) {
      const locked = lock.packages['']?.[group]?.[name]
      if (locked !== version) problems.push(`package.json has ${name} ${version}, the lock file ${locked ?? 'nothing'}`)
    }
  }
  return problems
}

/** A copy with every missing optional package, in npm's order, and without addresses. */
export function completeLockFile(lock: LockFile): LockFile {
  const packages: Record<string, LockEntry> = {}
  for (const [path, { resolved: _, ...entry }] of Object.entries(lock.packages)) packages[path] = entry
  for (const { parent, name, version } of missingOptionals(lock)) {
    if (!EXACT_VERSION.test(version)) {
      throw new Error(`${parent} names ${name} ${version}: expected an exact version, since no registry is asked here`)
    }
    const inDev = packages[parent].dev === true
    packages[`node_modules/${name}`] = { version, ...platformOf(name), ...(inDev ? { dev: true } : {}), optional: true }
  }
  const sorted = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
  return { ...lock, packages: sorted }
}

/** `@duckdb/node-bindings-linux-arm64-musl` → linux, arm64. */
function platformOf(name: string): Pick<LockEntry, 'os' | 'cpu' | 'libc'> {
  const words = name.replace(/^@[^/]+\//, '').split(/[-.]/)
  const os = words.map((word) => OSES[word]).find((word) => word !== undefined)
  const cpu = words.find((word) => CPUS.includes(word))
  const libc = words.includes('musl') ? 'musl' : words.includes('gnu') ? 'glibc' : undefined
  return { ...(cpu ? { cpu: [cpu] } : {}), ...(libc ? { libc: [libc] } : {}), ...(os ? { os: [os] } : {}) }
}

/** As Node looks for it: below the parent, then below each folder above. */
function findEntry(lock: LockFile, parent: string, name: string): LockEntry | undefined {
  for (let folder = parent; ; ) {
    const found = lock.packages[folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`]
    if (found) return found
    if (folder === '') return undefined
    const above = folder.lastIndexOf('/node_modules/')
    folder = above < 0 ? '' : folder.slice(0, above)
  }
}

function main(): void {
  const root = join(import.meta.dirname, '..')
  const file = join(root, 'package-lock.json')
  const lock = JSON.parse(readFileSync(file, 'utf8')) as LockFile
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as LockEntry
  if (!process.argv.includes('--check')) {
    writeFileSync(file, `${JSON.stringify(completeLockFile(lock), null, 2)}\n`)
    return
  }
  const problems = lockFileProblems(lock, manifest)
  for (const problem of problems) process.stderr.write(`package-lock.json: ${problem}\n`)
  if (problems.length > 0) {
    process.stderr.write('npm run lock completes it after npm install\n')
    process.exitCode = 1
  }
}

if (import.meta.main) main()
