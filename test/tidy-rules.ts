/**
 * The house's rules over its source files, as one pure function: files in, violations out. `tidy.test.ts` runs it over the
 * real tree and over small trees with planted violations, so that we know it finds them.
 *
 * It reads text, not syntax trees: comments and string contents are blanked first where they could mislead, import
 * addresses excepted.
 */
export type SourceFile = { readonly path: string; readonly text: string }
export type Violation = { readonly path: string; readonly line: number; readonly rule: string; readonly found: string }

/** What each folder may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  schemas: [],
  runtime: ['schemas'],
  lake: ['runtime', 'schemas'],
  ingest: ['lake', 'runtime', 'schemas'],
  compactor: ['lake', 'runtime', 'schemas'],
  query: ['lake', 'runtime', 'schemas'],
  clients: [],
  bin: ['ingest', 'compactor', 'query', 'lake', 'runtime', 'schemas'],
}

type Door = { readonly rule: string; readonly module: RegExp; readonly inside: RegExp; readonly filesMax: number }

const DOORS: readonly Door[] = [
  { rule: 'one door to the AWS SDK', module: /^@(?:aws-sdk|smithy)\//, inside: /^lake\/object-store\//, filesMax: 1 },
  // Two: connections for our own requests, and the library's consumer to compare with.
  { rule: 'one door to the Kafka client', module: /^@platformatic\/kafka/, inside: /^ingest\/kafka\//, filesMax: 2 },
  { rule: 'one door to DuckDB', module: /^@duckdb\//, inside: /^lake\/engine\//, filesMax: Number.POSITIVE_INFINITY },
]

const WORLD_FILE = 'runtime/system-world.ts'
const WORLD =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bnew Date(?!\s*[(\w])|\bMath\.random\b|\brandomUUID\b|\brandomBytes\b|\bgetRandomValues\b|\bperformance\.now\b|\bprocess\.hrtime\b/
const BANNED_NAME = /(?:^|[-/])(?:utils?|helpers?|managers?|misc|common)(?=[-./])/
const LINES_MAX = 500
const CODE_FOLDERS = new Set(Object.keys(MAY_IMPORT))
const TYPE_ANY = /(?::|\bas|<|,|\||&|=>|\bextends|=)\s*any\b(?!\s*[:(?])|\bany\[\]/

export function findViolations(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = []
  const doorFiles = new Map<Door, string[]>()
  for (const file of files) {
    const isTest = /\.test\.ts$/.test(file.path) || file.path.startsWith('test/')
    const code = blank(file.text, true)
    const imports = findImports(file.text)
    if (BANNED_NAME.test(file.path)) add(file, 0, 'names that say something', file.path)
    if (!/^[a-z0-9.\-/]+$/.test(file.path)) add(file, 0, 'kebab-case file names', file.path)
    // A test's story is the names of its tests.
    if (!isTest && !/^(?:#!.*\n)?\s*(?:\/\*|\/\/)/.test(file.text))
      add(file, 0, 'a file opens with its story', 'no comment')
    each(file, code, TYPE_ANY, 'no any')
    each(file, code, /^[ \t]*(?:export\s+)?(?:const\s+)?enum\b/, 'no enum')
    each(file, code, /^[ \t]*export\s+default\b/, 'named exports', /\.config\.ts$/.test(file.path))
    if (isTest || !CODE_FOLDERS.has(folderOf(file.path))) continue

    const lines = file.text.split('\n').length
    if (lines > LINES_MAX + 1) add(file, lines, `at most ${LINES_MAX} lines`, `${lines} lines`)
    if (file.path !== WORLD_FILE) each(file, code, WORLD, 'one door to clock and randomness')
    for (const { address, offset } of imports) checkImport(file, address, offset)
  }
  for (const [door, paths] of doorFiles) {
    for (const path of paths.slice(door.filesMax))
      violations.push({ path, line: 1, rule: door.rule, found: `also ${paths[0]}` })
  }
  return violations

  function checkImport(file: SourceFile, address: string, offset: number): void {
    for (const door of DOORS) {
      if (!door.module.test(address)) continue
      const paths = doorFiles.get(door) ?? []
      doorFiles.set(door, paths)
      if (!door.inside.test(file.path)) add(file, offset, door.rule, address)
      else if (!paths.includes(file.path)) paths.push(file.path)
    }
    if (!address.startsWith('.')) return
    if (!/\.(?:ts|json)$/.test(address)) add(file, offset, 'imports name the .ts file', address)
    const from = folderOf(file.path)
    const to = folderOf(resolvePath(file.path, address))
    if (to !== from && !MAY_IMPORT[from].includes(to)) add(file, offset, 'imports go down', `${from} imports ${to}`)
  }

  function each(file: SourceFile, code: string, pattern: RegExp, rule: string, allowed = false): void {
    if (allowed) return
    for (const match of code.matchAll(new RegExp(pattern.source, 'gm'))) add(file, match.index, rule, match[0].trim())
  }

  function add(file: SourceFile, offset: number, rule: string, found: string): void {
    const line = file.text.slice(0, offset).split('\n').length
    violations.push({ path: file.path, line, rule, found })
  }
}

/** Static imports, exports from, dynamic imports, `require` and module addresses given to `new URL`. */
function findImports(text: string): { address: string; offset: number }[] {
  const code = blank(text, false)
  const pattern =
    /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+|\brequire\s*\(\s*|\bresolve\s*\(\s*(?=['"`]@)|\bnew URL\s*\(\s*)(['"`])([^'"`\n]+)\1/g
  return [...code.matchAll(pattern)].map((match) => ({ address: match[2], offset: match.index }))
}

/** Comments become spaces, and the contents of strings too when asked; line breaks and lengths stay. */
function blank(text: string, stringsToo: boolean): string {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:[!&|?;{}\n]\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g
  return text.replace(token, (found) => {
    const isComment = found.startsWith('/*') || found.startsWith('//')
    if (!isComment && !stringsToo) return found
    // Code inside a template's ${…} still counts.
    if (found.startsWith('`')) return found.replace(/(\$\{[^}]*\})|[^\n]/g, (_, kept?: string) => kept ?? ' ')
    return found.replace(/[^\n]/g, ' ')
  })
}

function folderOf(path: string): string {
  return path.split('/')[0]
}

function resolvePath(from: string, address: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const step of address.split('/')) {
    if (step === '..') parts.pop()
    else if (step !== '.') parts.push(step)
  }
  return parts.join('/')
}
