/** Predicates: which records a transform is for. */
import type { ConnectRecord } from '../data/record.ts'
import { javaRegex } from '../java/regex.ts'
import { regexProblem } from './routers.ts'
import { filledText, type Setting, type SettingValues, textSetting } from './settings.ts'

export type Predicate = (record: ConnectRecord) => boolean

const noEmptyText = filledText('pattern')
const noBadRegex = regexProblem('pattern')

export const TOPIC_NAME_MATCHES: readonly Setting[] = [
  textSetting('pattern', 'Java regular expression that the whole name of the topic must match.', {
    problem: (value) => noEmptyText(value) ?? noBadRegex(value),
  }),
]

export const HAS_HEADER_KEY: readonly Setting[] = [
  textSetting('name', 'Name that at least one header must have.', { problem: filledText('name') }),
]

export function topicNameMatches(settings: SettingValues): Predicate {
  const regex = javaRegex(settings.text('pattern') ?? '')
  let last: string | undefined
  let isMatch = false
  return ({ topic }) => {
    if (topic !== last) {
      isMatch = regex.matches(topic)
      last = topic
    }
    return isMatch
  }
}

export function hasHeaderKey(settings: SettingValues): Predicate {
  const name = settings.text('name')
  return ({ headers }) => headers.some((header) => header.name === name)
}

export function recordIsTombstone(): Predicate {
  return ({ value }) => value === null
}
