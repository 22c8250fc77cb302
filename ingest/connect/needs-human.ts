/**
 * Whether a trouble with brokers is one that only a human can mend: credentials, certificates, rights. Brokers and TLS tell it
 * in words, and the names of topics and hosts in a message say nothing.
 */
const WORDS =
  /authenticat|not allowed|authoriz|sasl|credential|certificate|self.signed|handshake|unsupported_mechanism|wrong version number/i
const NAMES = /"[^"]*"|\bbroker \S+:\d+|\btopic \S+|\b[\w.-]+\/\d+/g

export function needsHuman(trouble: string): boolean {
  return WORDS.test(trouble.replace(NAMES, ''))
}
