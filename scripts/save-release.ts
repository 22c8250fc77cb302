/**
 * Keeps a release's catalog code as one file, so that tests can run it beside this release's: a clone without history has
 * what was released, byte for byte as the bundler joined it, and nothing of today's sources leaks into it.
 *
 *   node scripts/save-release.ts <commit> <version>     writes test/fixtures/releases/<version>/catalog.mjs
 *
 * The files come out of git at that commit, never from the working tree. Packages stay imports: they are installed anyway.
 * The module gives `openCatalog`, `createSystemWorld` and `createLog` of that release.
 *
 * It fails when the commit is not known here, or when one of its files imports what is not in it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { type Plugin, rolldown } from 'rolldown'

const ROOT = join(import.meta.dirname, '..')
const ENTRY = 'entry.ts'
/** What a test needs to be a process of that release. */
const ENTRY_TEXT = `
export { openCatalog } from './lake/catalog/open-catalog.ts'
export { createLog } from './runtime/log.ts'
export { createSystemWorld } from './runtime/system-world.ts'
`

function git(args: readonly string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 << 20 })
}

/** Relative imports are files of the commit, every other one stays as it is. */
function filesOfCommit(commit: string): Plugin {
  return {
    name: 'files of a commit',
    resolveId(address, importer) {
      if (importer === undefined) return ENTRY
      if (!address.startsWith('.')) return { id: address, external: true }
      return posix.join(posix.dirname(importer), address)
    },
    load(id) {
      return { code: id === ENTRY ? ENTRY_TEXT : git(['show', `${commit}:${id}`]), moduleType: 'ts' }
    },
  }
}

export async function saveRelease(commit: string, version: string): Promise<string> {
  const id = git(['rev-parse', '--verify', `${commit}^{commit}`]).trim()
  const bundle = await rolldown({ input: ENTRY, platform: 'node', plugins: [filesOfCommit(id)], treeshake: true })
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false, comments: false })
  await bundle.close()
  if (output.length !== 1) throw new Error(`expected one file, the bundler made ${output.length}`)
  const file = join(ROOT, 'test', 'fixtures', 'releases', version, 'catalog.mjs')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(
    file,
    `// The catalog of Millrace ${version} (commit ${id}), made by scripts/save-release.ts. Never edited.\n${output[0].code}`,
  )
  return file
}

if (process.argv[1] === import.meta.filename) {
  const [commit, version] = process.argv.slice(2)
  if (version === undefined) {
    process.stderr.write('usage: node scripts/save-release.ts <commit> <version>\n')
    process.exit(2)
  }
  process.stdout.write(`${await saveRelease(commit, version)}\n`)
}
