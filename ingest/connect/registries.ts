/** Schema registries of a connector: one for keys and one for values, each with its own settings and secrets. */
import { readFileSync } from 'node:fs'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createSchemaRegistryClient, type SchemaRegistryClient } from '../registry/registry-client.ts'
import { registrySettings } from '../registry/registry-settings.ts'
import type { FindSchema } from '../schema-keeper.ts'
import type { ConnectorConfig, ConverterConfig } from './config/connector-config.ts'
import type { Secrets } from './secrets.ts'

const RETRY_FIRST_MS = 300

/** Throws what is wrong with their settings. */
export function createRegistries(components: {
  config: Pick<ConnectorConfig, 'key' | 'value' | 'errors'>
  secrets: Pick<Secrets, 'reveal'>
  world: World
}): { readonly find: FindSchema; close(): Promise<void> } {
  const { config, secrets, world } = components
  const { errors } = config
  const clientOf = (converter: ConverterConfig | undefined): SchemaRegistryClient | undefined => {
    if (!converter?.registry) return undefined
    const revealed = Object.entries(converter.registry).map(([name, text]) => [name, secrets.reveal(text)])
    return createSchemaRegistryClient({ settings: registrySettings(Object.fromEntries(revealed), readPem), world })
  }
  const value = clientOf(config.value)
  const key = clientOf(config.key)
  return {
    async find(id, { isKey, topic, signal }) {
      const client = isKey ? key : value
      if (!client) return { kind: 'refused', reason: `schema id ${id}: the converter has no schema.registry.url` }
      const subject = `${topic}-${isKey ? 'key' : 'value'}`
      const begunMs = world.clock.monotonicMs()
      // A schema that is registered late is waited for as long as errors.retry.timeout says.
      for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, errors.retryDelayMaxMs)) {
        const answer = await client.schema(id, { subject, signal })
        const waitedMs = world.clock.monotonicMs() - begunMs
        const isOver = errors.retryTimeoutMs >= 0 && waitedMs + pauseMs > errors.retryTimeoutMs
        if (answer.kind === 'schema' || isOver || signal.aborted) return answer
        await world.clock.sleep(pauseMs, signal).catch(() => {})
      }
    },
    async close() {
      await Promise.all([value?.close(), key?.close()])
    },
  }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new MillraceError(
      'settings-invalid',
      `schema.registry.ssl: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}
