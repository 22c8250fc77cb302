/**
 * Which functions may give another result for the same arguments and rows: DuckDB says it of its own (`random`, `uuid`, `now`);
 * of a macro, ours and DuckDB's, it is found in its text.
 */
export const FUNCTIONS_SQL =
  "SELECT function_name AS name, coalesce(stability, '') AS stability, coalesce(macro_definition, '') AS text FROM duckdb_functions()"

export type KnownFunction = { readonly name: string; readonly stability: string; readonly text: string }

export function unsteadyFunctions(
  functions: readonly KnownFunction[],
  clockNames: ReadonlySet<string>,
): ReadonlySet<string> {
  const unsteady = new Set(clockNames)
  for (const { name, stability } of functions) {
    if (stability !== '' && stability !== 'CONSISTENT') unsteady.add(name.toLowerCase())
  }
  const macros = functions
    .filter(({ text }) => text !== '')
    .map(({ name, text }) => ({
      name: name.toLowerCase(),
      words: new Set(text.toLowerCase().match(/[a-z_][a-z0-9_]*/g)),
    }))
  // A macro may call another one.
  for (let before = -1; before !== unsteady.size; ) {
    before = unsteady.size
    for (const { name, words } of macros) {
      if (!unsteady.has(name) && [...words].some((word) => unsteady.has(word))) unsteady.add(name)
    }
  }
  return unsteady
}
