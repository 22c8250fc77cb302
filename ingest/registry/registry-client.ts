/**
 * Schemas of a Confluent-compatible registry by the id that records carry, with everything they refer to.
 *
 *   GET /schemas/ids/{id}                      text, type, references
 *   GET /subjects/{subject}/versions/{version} each reference, and those of the reference (deleted ones too: records outlive
 *                                              the subjects of their schemas)
 *   GET /schemas/ids/{id}/versions             what messages call it; where that fails the id alone will do
 *
 * An id means one schema for ever: what was found is kept (a bounded number, the least recently asked for goes first), and
 * several who ask for one id at the same time share one answer. What is refused is remembered by whoever asks, not here.
 *
 * Refused, with the reason that the records' dead letters get: no such schema, a reference that is gone, too long, too many
 * references, references in a circle, an unknown type. Away is an error (`registry-unavailable`): wait and ask again.
 */
import type { World } from '../../runtime/world.ts'
import { asMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { RegistrySchema } from '../decoder/decode-plan.ts'
import { createRegistryRequests, type RegistryReply } from './registry-requests.ts'
import type { RegistrySettings } from './registry-settings.ts'

export type RegistryAnswer =
  | { readonly kind: 'schema'; readonly schema: RegistrySchema }
  | { readonly kind: 'refused'; readonly reason: string }

export type SchemaRegistryClient = {
  /** Throws `registry-unavailable` when the registry is away, or the signal's reason. `subject` only helps to find the context. */
  schema(id: number, options?: { readonly subject?: string; readonly signal?: AbortSignal }): Promise<RegistryAnswer>
  close(): Promise<void>
}

type Reference = { readonly name: string; readonly subject: string; readonly version: number }
type SchemaBody = { readonly text: string; readonly type: string; readonly references: readonly Reference[] }

const TYPES = ['AVRO', 'JSON', 'PROTOBUF'] as const
const LABEL_BYTES_MAX = 256 * 1024
/** JSON quoting may double a text. */
const QUOTED = 2

class Refused extends Error {}

export function createSchemaRegistryClient(components: {
  settings: RegistrySettings
  world: World
}): SchemaRegistryClient {
  const { settings } = components
  const requests = createRegistryRequests(components)
  const cache = createCache(settings)
  const underWay = new Map<number, Promise<RegistryAnswer>>()

  async function ask(id: number, subject: string | undefined): Promise<RegistryAnswer> {
    try {
      const query = subject === undefined ? '' : `?subject=${encodeURIComponent(subject)}`
      const found = await body(`/schemas/ids/${id}${query}`, settings.schemaBytesMax, () => `schema id ${id}`)
      const type = TYPES.find((each) => each === found.type)
      if (type === undefined) throw new Refused(`schema id ${id} is of type "${found.type}", which is not known`)
      const references = await resolveReferences(id, found)
      const schema = { id, type, text: found.text, references, label: await label(id) }
      cache.add(schema)
      return { kind: 'schema', schema }
    } catch (error) {
      if (error instanceof Refused) return { kind: 'refused', reason: error.message }
      throw error
    }
  }

  async function body(path: string, bytesLeft: number, name: () => string): Promise<SchemaBody> {
    const reply = await requests.get(path, { bytesMax: Math.max(1024, bytesLeft * QUOTED) })
    if (reply.kind === 'absent') throw new Refused(`${name()} is not in the schema registry`)
    const parsed = reply.kind === 'found' ? parseSchemaBody(reply) : undefined
    if (reply.kind === 'too-long' || (parsed && Buffer.byteLength(parsed.text) > bytesLeft)) {
      throw new Refused(`${name()} is longer than ${settings.schemaBytesMax} bytes with all it refers to`)
    }
    if (parsed === undefined) {
      throw new MillraceError(
        'registry-unavailable',
        `${name()}: expected a schema, found something else in the answer`,
      )
    }
    return parsed
  }

  /** All that the schema refers to, each after those it refers to itself. A name means one text. */
  async function resolveReferences(id: number, root: SchemaBody): Promise<RegistrySchema['references']> {
    const resolved = new Map<string, { name: string; text: string }>()
    const open = new Set<string>()
    let bytesLeft = settings.schemaBytesMax - Buffer.byteLength(root.text)
    let asked = 0

    async function resolve(references: readonly Reference[]): Promise<void> {
      for (const reference of references) {
        const { name, subject, version } = reference
        const key = `${name}\n${subject}\n${version}`
        if (resolved.has(key)) continue
        if (open.has(key)) throw new Refused(`schema id ${id}: the reference "${name}" leads back to itself`)
        asked += 1
        if (asked > settings.referencesMax) {
          throw new Refused(`schema id ${id} has more than ${settings.referencesMax} references`)
        }
        open.add(key)
        const path = `/subjects/${encodeURIComponent(subject)}/versions/${version}?deleted=true`
        const found = await body(path, bytesLeft, () => `subject "${subject}" version ${version} (of schema id ${id})`)
        bytesLeft -= Buffer.byteLength(found.text)
        await resolve(found.references)
        open.delete(key)
        resolved.set(key, { name, text: found.text })
      }
    }

    await resolve(root.references)
    const references = [...resolved.values()]
    const texts = new Map<string, string>()
    for (const { name, text } of references) {
      if ((texts.get(name) ?? text) !== text) throw new Refused(`schema id ${id}: the name "${name}" means two schemas`)
      texts.set(name, text)
    }
    return references.filter(({ name }, index) => references.findIndex((each) => each.name === name) === index)
  }

  async function label(id: number): Promise<string> {
    try {
      const reply = await requests.get(`/schemas/ids/${id}/versions`, { bytesMax: LABEL_BYTES_MAX })
      const first = reply.kind === 'found' && Array.isArray(reply.body) ? (reply.body[0] as unknown) : undefined
      const { subject, version } = (first ?? {}) as { subject?: unknown; version?: unknown }
      if (typeof subject === 'string' && typeof version === 'number') return `${subject} version ${version} (id ${id})`
    } catch (error) {
      if (asMillraceError(error).code !== 'registry-unavailable') throw error
    }
    return `schema id ${id}`
  }

  return {
    async schema(id, options = {}) {
      if (!Number.isInteger(id) || id < 0 || id > 0x7fffffff) {
        return { kind: 'refused', reason: `schema id ${id} is no id of a schema registry` }
      }
      const kept = cache.get(id)
      if (kept) return { kind: 'schema', schema: kept }
      let asked = underWay.get(id)
      if (asked === undefined) {
        asked = ask(id, options.subject).finally(() => underWay.delete(id))
        // Somebody may stop waiting for it; it goes on for the others.
        asked.catch(() => {})
        underWay.set(id, asked)
      }
      return waitFor(asked, options.signal)
    },
    close: () => requests.close(),
  }
}

async function waitFor<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function parseSchemaBody(reply: Extract<RegistryReply, { kind: 'found' }>): SchemaBody | undefined {
  if (typeof reply.body !== 'object' || reply.body === null) return undefined
  const { schema, schemaType, references } = reply.body as Record<string, unknown>
  if (typeof schema !== 'string') return undefined
  const parsed: Reference[] = []
  for (const each of Array.isArray(references) ? (references as unknown[]) : []) {
    const { name, subject, version } = (each ?? {}) as Record<string, unknown>
    if (typeof name !== 'string' || typeof subject !== 'string' || typeof version !== 'number') return undefined
    parsed.push({ name, subject, version })
  }
  return { text: schema, type: typeof schemaType === 'string' ? schemaType : 'AVRO', references: parsed }
}

function createCache(settings: RegistrySettings): {
  get(id: number): RegistrySchema | undefined
  add(schema: RegistrySchema): void
} {
  const entries = new Map<number, RegistrySchema>()
  let bytes = 0
  return {
    get(id) {
      const found = entries.get(id)
      if (found) {
        entries.delete(id)
        entries.set(id, found)
      }
      return found
    },
    add(schema) {
      entries.set(schema.id, schema)
      bytes += bytesOf(schema)
      for (const [id, oldest] of entries) {
        if (entries.size === 1 || (entries.size <= settings.cacheEntriesMax && bytes <= settings.cacheBytesMax)) break
        entries.delete(id)
        bytes -= bytesOf(oldest)
      }
    },
  }
}

function bytesOf({ text, references }: RegistrySchema): number {
  return references.reduce((sum, each) => sum + each.text.length + each.name.length, text.length)
}
