/** How ingest shows brokers who it is, beside user name and password. */
import { optionalText } from './settings-leaf.ts'

export const KAFKA_CLIENT_LEAVES = {
  'kafka.security.cert': optionalText({
    description: 'PEM file of our own certificate (with its chain), for brokers that ask clients for one.',
    isPath: true,
  }),
  'kafka.security.key': optionalText({ description: 'PEM file of its private key.', isPath: true }),
  'kafka.security.key-password': optionalText({ description: 'Of the private key, if it is encrypted.', secret: true }),
  'kafka.security.oauth.endpoint': optionalText({
    description: 'For `oauthbearer`: URL that gives tokens for client credentials.',
  }),
  'kafka.security.oauth.client-id': optionalText({ description: 'For `oauthbearer`: who asks for tokens.' }),
  'kafka.security.oauth.client-secret': optionalText({ description: 'For `oauthbearer`: its secret.', secret: true }),
  'kafka.security.oauth.scope': optionalText({ description: 'For `oauthbearer`: the scope that is asked for.' }),
  'kafka.security.oauth.ca': optionalText({
    description:
      'PEM file of the authority that signed the certificate of the endpoint; without it the well-known ones.',
    isPath: true,
  }),
} as const
