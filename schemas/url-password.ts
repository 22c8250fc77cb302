/** Addresses may carry a password (`postgres://user:password@host/database`). Whoever shows one goes through here. */

const MASK = '******'

/** Any text, also one that is no address but was meant to be: what stands between the user's name and the host is masked. */
export function withoutPassword(text: string): string {
  return text.replace(/(:\/\/?[^:/@\s]*:)\S*@/g, `$1${MASK}@`)
}

/** Every way in which the address's password may appear in a text; none when it has no password. */
export function passwordsOf(url: string): string[] {
  const encoded = URL.parse(url)?.password ?? ''
  if (encoded === '') return []
  const written = /:\/\/[^:/@]*:(.*)@/.exec(url)?.[1] ?? encoded
  return [...new Set([encoded, written, decoded(encoded)])]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
