/**
 * How a connector talks to its brokers: the service's settings, with what its `consumer.override.*` say instead. A connector
 * with a security protocol of its own takes nothing of the service's, lest one's password goes to another's brokers.
 */

import { MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import type { KafkaSecurity } from '../kafka/client.ts'
import type { KafkaSourceSettings } from '../kafka/fetch-source.ts'
import type { ConsumerConfig, ConsumerSecurity } from './config/connector-config.ts'
import type { Secrets } from './secrets.ts'

export function kafkaSettings(
  service: Settings['kafka'],
  consumer: ConsumerConfig,
  secrets: Pick<Secrets, 'reveal'>,
): KafkaSourceSettings {
  const bootstrap = consumer.bootstrap ?? service.bootstrap
  if (bootstrap.length === 0) {
    throw new MillraceError(
      'settings-invalid',
      'no brokers are known: set kafka.bootstrap in the settings, or consumer.override.bootstrap.servers',
    )
  }
  const isElsewhere = consumer.bootstrap !== undefined && consumer.bootstrap.join() !== service.bootstrap.join()
  const own = consumer.security && securityOf(consumer.security, secrets)
  return {
    ...service,
    bootstrap,
    clientId: consumer.clientId ?? service.clientId,
    security: own ?? (isElsewhere ? { protocol: 'plaintext' } : service.security),
    ...withoutUndefined({
      fetchBytesMax: consumer.fetchBytesMax,
      fetchWaitMs: consumer.fetchWaitMs,
      sessionTimeoutMs: consumer.sessionTimeoutMs,
      heartbeatMs: consumer.heartbeatMs,
      rebalanceTimeoutMs: consumer.rebalanceTimeoutMs,
      requestTimeoutMs: consumer.requestTimeoutMs,
      connectTimeoutMs: consumer.connectTimeoutMs,
      retryMs: consumer.retryMs,
      retryMaxMs: consumer.retryMaxMs,
      topicsRefreshMs: consumer.topicsRefreshMs,
    }),
  }
}

function securityOf({ protocol, sasl, tls }: ConsumerSecurity, secrets: Pick<Secrets, 'reveal'>): KafkaSecurity {
  const unsupported = (['ca', 'certFile', 'cert', 'key', 'keyPassword'] as const).find(
    (name) => tls[name] !== undefined,
  )
  if (unsupported !== undefined || tls.checkName === false) {
    throw new MillraceError(
      'settings-invalid',
      `consumer.override.ssl.*: only ssl.truststore.location (PEM) is known to this release, found ${unsupported ?? 'ssl.endpoint.identification.algorithm'}`,
    )
  }
  if (sasl?.mechanism === 'oauthbearer') {
    throw new MillraceError(
      'settings-invalid',
      'consumer.override.sasl.mechanism: OAUTHBEARER is not known to this release',
    )
  }
  return {
    protocol,
    mechanism: sasl?.mechanism,
    username: sasl && secrets.reveal(sasl.username),
    password: sasl && secrets.reveal(sasl.password),
    ca: tls.caFile,
  }
}

function withoutUndefined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
