/**
 * Other people's readers of our tables run in Python. `python-requirements.txt` is installed once into a virtual
 * environment of the user's cache folder, named after the file's own bytes: another version is another folder.
 * It needs Python 3.11 or newer with its `venv` module; installing takes about half a minute and 1.2GB.
 *
 * A script is a file or a text. Its last line on stdout is its result, as JSON. Integers beyond 2^53 would lose digits in
 * JSON.parse: print them as strings.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { runToEnd } from './processes.ts'

const REQUIREMENTS = join(import.meta.dirname, 'python-requirements.txt')
const HASH_DIGITS = 12

export type PythonScript = { readonly file: string } | { readonly text: string }

/** Another environment, for what does not go with the readers. */
export type PythonEnvironment = {
  /** Path of its requirements. */
  readonly requirements?: string
  readonly env?: Readonly<Record<string, string>>
}

/** The environment's interpreter, after making the environment when there is none. */
export async function pythonBinary(requirements = REQUIREMENTS): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, HASH_DIGITS)
  const folder = await cachedFolder({ name: `python-${hash}`, build: (made) => buildEnvironment(made, requirements) })
  return join(folder, 'bin', 'python')
}

/** Runs a script with text arguments (`sys.argv[1:]`) and gives what its last line says. */
export async function runPython(
  script: PythonScript,
  args: readonly string[] = [],
  environment: PythonEnvironment = {},
): Promise<unknown> {
  const command = await pythonBinary(environment.requirements)
  const program = 'file' in script ? [script.file] : ['-c', script.text]
  const stdout = await runToEnd({
    name: 'file' in script ? `python ${script.file}` : 'python script',
    command,
    args: [...program, ...args],
    env: {
      ...environment.env,
      PYTHONDONTWRITEBYTECODE: '1',
      PYTHONUTF8: '1',
      PYTHONPATH: undefined,
      PYTHONHOME: undefined,
    },
  })
  const lastLine = stdout.trimEnd().split('\n').at(-1) ?? ''
  try {
    return JSON.parse(lastLine)
  } catch (cause) {
    throw new Error(`the last line of a Python script is its result as JSON, found: ${lastLine}`, { cause })
  }
}

/**
 * The folder of a signed DuckDB extension (`httpfs`, `avro`, `iceberg`) of the environment, for `LOAD '<file>'` in a DuckDB
 * of the same version as the wheel (1.5.5).
 */
export async function duckdbExtensionFile(name: 'httpfs' | 'avro' | 'iceberg'): Promise<string> {
  const found = await runPython(
    {
      text: `import importlib.util, json, pathlib, sys
folder = pathlib.Path(next(iter(importlib.util.find_spec('duckdb_extension_' + sys.argv[1]).submodule_search_locations)))
print(json.dumps([str(file) for file in folder.rglob(sys.argv[1] + '.duckdb_extension')]))`,
    },
    [name],
  )
  if (!Array.isArray(found) || typeof found[0] !== 'string') throw new Error(`no DuckDB extension ${name} in the wheel`)
  return found[0]
}

async function buildEnvironment(folder: string, requirements: string): Promise<void> {
  try {
    await runToEnd({ name: 'python3 -m venv', command: 'python3', args: ['-m', 'venv', folder] })
  } catch (cause) {
    throw new Error('tests with foreign readers need Python 3.11 or newer with its venv module: install python3', {
      cause,
    })
  }
  await runToEnd({
    name: 'pip install',
    command: join(folder, 'bin', 'python'),
    args: ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input', '-r', requirements],
  })
}
