import { expect, test } from 'vitest'
import { needsHuman } from './needs-human.ts'

test.each([
  'broker kafka:9092: Authentication failed: Invalid username or password',
  'broker kafka:9092: self-signed certificate in certificate chain',
  'not allowed to read topic orders',
  'broker 10.0.0.1:9093: write EPROTO wrong version number',
])('a human has to look at: %s', (trouble) => expect(needsHuman(trouble)).toBe(true))

test.each([
  'topic "certificate-events" does not exist; it is read as soon as it does',
  'broker sasl.example:9092: connect ECONNREFUSED',
  'no leader yet for authorizations/3',
  'broker kafka:9092: timed out',
])('heals by itself: %s', (trouble) => expect(needsHuman(trouble)).toBe(false))
