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
  const reveal = (text: string | undefined) => (text === undefined ? undefined : secrets.reveal(text))
  return {
    protocol,
    mechanism: sasl?.mechanism,
    ...(sasl && sasl.mechanism !== 'oauthbearer'
      ? { username: reveal(sasl.username), password: reveal(sasl.password) }
      : {}),
    ...(sasl?.mechanism === 'oauthbearer'
      ? {
          oauth: {
            endpoint: reveal(sasl.tokenUrl),
            clientId: reveal(sasl.clientId),
            clientSecret: reveal(sasl.clientSecret),
            scope: sasl.scope,
          },
        }
      : {}),
    ca: tls.caFile,
    caText: reveal(tls.ca),
    // A keystore in PEM has both.
    cert: tls.certFile,
    key: tls.certFile,
    certText: reveal(tls.cert),
    keyText: reveal(tls.key),
    keyPassword: reveal(tls.keyPassword),
    checkName: tls.checkName,
  }
}

function withoutUndefined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
