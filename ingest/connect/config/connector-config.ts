/** What a checked connector configuration says, as plain data. References to secrets (`${env:…}`) are still references. */
import type { DeclaredColumn } from '../../../schemas/settings-tables.ts'
import type { ConverterPlan, TransformPlan } from '../../decoder/decode-plan.ts'
import { TOPIC_PLACE } from './definitions.ts'

export type ConnectorConfig = {
  readonly name: string
  readonly topics:
    | { readonly kind: 'list'; readonly names: readonly string[] }
    /** A regular expression that whole names match, in Java's words. */
    | { readonly kind: 'pattern'; readonly pattern: string }
  readonly tasksMax: number
  /** undefined: keys are not read. */
  readonly key: ConverterConfig | undefined
  readonly value: ConverterConfig
  readonly transforms: readonly TransformPlan[]
  readonly errors: ErrorsConfig
  readonly consumer: ConsumerConfig
  readonly table: TableConfig
  /** undefined: as the service's settings say. */
  readonly flushIntervalMs: number | undefined
  readonly rate: { readonly rowsMax: number | undefined; readonly bytesMax: number | undefined }
}

export type ConverterConfig = {
  readonly plan: ConverterPlan
  /** Settings of the registry's client by the names of Confluent's converters, without the converter's prefix. */
  readonly registry: Readonly<Record<string, string>> | undefined
}

/** PEM files by path, or PEM texts (which for keys are references). */
export type TlsConfig = {
  readonly caFile?: string
  readonly ca?: string
  readonly certFile?: string
  readonly cert?: string
  readonly key?: string
  readonly keyPassword?: string
  /** Default true: the name in the certificate is that of the server. */
  readonly checkName?: boolean
}

export type ErrorsConfig = {
  readonly tolerance: 'none' | 'all'
  readonly deadLetterTopic:
    | { readonly name: string; readonly replicationFactor: number; readonly contextHeaders: boolean }
    | undefined
  readonly log: boolean
  readonly logMessages: boolean
  /** -1: for ever. */
  readonly retryTimeoutMs: number
  readonly retryDelayMaxMs: number
}

export type ConsumerConfig = {
  /** Default `connect-<name>`. */
  readonly groupId: string
  /** Each undefined: as the service's settings say. */
  readonly autoOffsetReset: 'earliest' | 'latest' | undefined
  readonly bootstrap: readonly string[] | undefined
  readonly clientId: string | undefined
  readonly fetchBytesMax: number | undefined
  readonly fetchWaitMs: number | undefined
  readonly sessionTimeoutMs: number | undefined
  readonly heartbeatMs: number | undefined
  readonly rebalanceTimeoutMs: number | undefined
  readonly requestTimeoutMs: number | undefined
  readonly connectTimeoutMs: number | undefined
  readonly retryMs: number | undefined
  readonly retryMaxMs: number | undefined
  readonly topicsRefreshMs: number | undefined
  /** undefined: as the service talks to its brokers. */
  readonly security: ConsumerSecurity | undefined
}

export type ConsumerSecurity = {
  readonly protocol: 'plaintext' | 'ssl' | 'sasl_plaintext' | 'sasl_ssl'
  readonly sasl:
    | {
        readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
        readonly username: string
        readonly password: string
      }
    | {
        readonly mechanism: 'oauthbearer'
        readonly tokenUrl: string
        readonly clientId: string
        readonly clientSecret: string
        readonly scope: string | undefined
      }
    | undefined
  readonly tls: TlsConfig
}

export type TableConfig = {
  /** Names or templates with `${topic}`. */
  readonly templates: readonly string[]
  readonly columns: readonly DeclaredColumn[] | undefined
  readonly partition: readonly string[]
  readonly sort: readonly string[]
  readonly eventTime: string | undefined
  readonly evolution: 'evolve' | 'freeze' | 'fail'
  readonly headersColumn: string | undefined
  readonly keyPrefix: string | undefined
}

/** `Orders.v2` → `orders_v2`: what a topic's table is called by default. */
export function tableNameOf(template: string, topic: string): string {
  const plain = topic.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')
  // A name begins with a letter.
  const text = template.startsWith(TOPIC_PLACE) && !/^[a-z]/.test(plain) ? `t_${plain}` : plain
  return template.replaceAll(TOPIC_PLACE, text)
}
