/**
 * Secrets stand in a connector's configuration only as references, which the catalog keeps as they are:
 *
 *   ${env:NAME}               a variable of the ingest process
 *   ${file:/folder/name:key}  a key of a properties file in an allowed folder
 *   ${file:/folder/name}      a whole file there, without line breaks at its end
 *
 * Pure: which properties hold secrets, and whether what stands there is a reference. `secrets.ts` reads them.
 */
import type { ConfigFinding, ConfigProperties } from './config-value.ts'

export type SecretReference =
  | { readonly kind: 'env'; readonly name: string; readonly text: string }
  | { readonly kind: 'file'; readonly path: string; readonly key: string | undefined; readonly text: string }

export const HIDDEN = '[hidden]'

const REFERENCE = /\$\{([a-z]+):([^{}]*)\}/g
const REFERENCES_ONLY = /^(?:\$\{(?:env|file):[^{}]+\})+$/
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/
/** What the service itself runs with is not given to connectors. */
const OWN_VARIABLE = /^(?:MILLRACE_|AWS_|NODE_)/

/** Where a reference may stand: what these say goes to brokers and registries, and nowhere else. */
const MAY_REFER = /^(?:consumer\.override|key\.converter|value\.converter)\../

/** Names of properties that hold secrets… */
const SECRET_NAME =
  /password|passwd|passphrase|secret|credential|jaas|user\.info|userinfo|token|api[._-]?key|access[._-]?key|private[._-]?key|keystore\.key$|ssl\.key/i
/** …and those that only sound like it. */
const HARMLESS_NAME =
  /\.(?:url|uri|location|type|class|source|ms|seconds|strategy|factor|name|provider|algorithm|enable|claim\.name|issuer|audience)$/i

export const HOW_TO_REFER = `write a reference instead, \${env:NAME} for a variable of the ingest process or \${file:/folder/file.properties:key} for a file in one of connect.secrets.folders`

export function isSecretName(name: string): boolean {
  // The name that somebody gave a transform says nothing.
  const plain = name.replace(/^(?:transforms|predicates)\.[^.]+\./, 'x.')
  return SECRET_NAME.test(plain) && !HARMLESS_NAME.test(plain)
}

export function referencesIn(text: string): readonly SecretReference[] {
  return [...text.matchAll(REFERENCE)].flatMap(([whole, kind, rest]): SecretReference[] => {
    if (kind === 'env') return [{ kind, name: rest, text: whole }]
    if (kind !== 'file') return []
    const colon = rest.lastIndexOf(':')
    return colon < 0
      ? [{ kind, path: rest, key: undefined, text: whole }]
      : [{ kind, path: rest.slice(0, colon), key: rest.slice(colon + 1), text: whole }]
  })
}

export function isReferenceOnly(text: string): boolean {
  return REFERENCES_ONLY.test(text.trim())
}

/** Every property: secrets that stand there literally, and references that cannot be. Values are not repeated. */
export function checkReferences(properties: ConfigProperties): readonly ConfigFinding[] {
  return Object.entries(properties).flatMap(([name, text]) => {
    const message = literalProblem(name, text) ?? referenceProblem(name, text)
    return message === undefined ? [] : [{ name, message }]
  })
}

/** What may be shown of a property: a secret that stands there literally is not, wherever it was refused. */
export function shownValue(name: string, text: string): string {
  return literalProblem(name, text) === undefined ? text : HIDDEN
}

function literalProblem(name: string, text: string): string | undefined {
  if (/\/\/[^/\s:@]*:(?!\$\{)[^/\s@]+@/.test(text)) return `${name} has a password in an address; ${HOW_TO_REFER}`
  if (/jaas\.config$/i.test(name)) {
    const literal = jaasOptions(text).find(([key, value]) => isSecretOption(key) && !isReferenceOnly(value))
    return literal && `${name} has the ${literal[0]} itself; ${HOW_TO_REFER}`
  }
  if (!isSecretName(name) || text.trim() === '') return undefined
  // `user:${env:PASSWORD}` tells no secret.
  const secret = /user\.?info$/i.test(name) ? text.replace(/^[^:${}]*:/, '') : text
  return isReferenceOnly(secret) ? undefined : `${name} is a secret; ${HOW_TO_REFER}`
}

function referenceProblem(name: string, text: string): string | undefined {
  // The template's own word is no reference.
  const found = [...text.matchAll(REFERENCE)]
  if (found.length === 0) return undefined
  if (!MAY_REFER.test(name)) {
    return `${name} has the reference ${found[0][0]}; references may stand in consumer.override.*, key.converter.* and value.converter.* only`
  }
  for (const [whole, kind, rest] of found) {
    if (kind !== 'env' && kind !== 'file') return `${whole}: expected \${env:…} or \${file:…}`
    if (kind === 'env' && !VARIABLE.test(rest)) return `${whole}: expected the name of a variable`
    if (kind === 'env' && OWN_VARIABLE.test(rest)) {
      return `${whole}: variables of the service itself (MILLRACE_…, AWS_…, NODE_…) are not given to connectors`
    }
    if (kind === 'file' && !rest.startsWith('/')) return `${whole}: expected an absolute path`
  }
  return undefined
}

/** `…PlainLoginModule required username="a" password="b";` → pairs. */
export function jaasOptions(text: string): readonly (readonly [key: string, value: string])[] {
  return [...text.matchAll(/([A-Za-z][\w.]*)\s*=\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^\s;"']+))/g)].map(
    ([, key, double, single, bare]) => [key, (double ?? single ?? bare).replaceAll(/\\(.)/g, '$1')] as const,
  )
}

function isSecretOption(key: string): boolean {
  return /password|secret|token|privatekey/i.test(key)
}
