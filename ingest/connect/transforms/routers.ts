/** RegexRouter and TimestampRouter: another topic for the record, from its topic and timestamp. */
import type { ConnectRecord } from '../data/record.ts'
import { type DateFormat, dateFormat } from '../java/date-format.ts'
import { javaRegex, RegexProblem } from '../java/regex.ts'
import { type Setting, type SettingValue, type SettingValues, textSetting } from './settings.ts'
import { type ChainContext, refuse, type Transform } from './transform.ts'

export function regexProblem(name: string): (value: SettingValue) => string | undefined {
  return (value) => {
    if (typeof value !== 'string') return `Invalid value null for configuration ${name}: Invalid regex: null`
    try {
      javaRegex(value)
      return undefined
    } catch (cause) {
      if (!(cause instanceof RegexProblem)) throw cause
      return `Invalid value ${value} for configuration ${name}: Invalid regex: ${cause.message}`
    }
  }
}

const NAME_GROUP = '$'.concat('{name}')
const TOPIC = '$'.concat('{topic}')
const TIMESTAMP = '$'.concat('{timestamp}')

export const REGEX_ROUTER: readonly Setting[] = [
  textSetting('regex', 'Java regular expression that the whole topic must match.', {
    importance: 'HIGH',
    problem: regexProblem('regex'),
  }),
  textSetting('replacement', `The new topic; $1 and ${NAME_GROUP} stand for groups.`, { importance: 'HIGH' }),
]

export const TIMESTAMP_ROUTER: readonly Setting[] = [
  textSetting('topic.format', `The new topic; ${TOPIC} and ${TIMESTAMP} stand for the old one and the time.`, {
    defaultValue: `${TOPIC}-${TIMESTAMP}`,
    importance: 'HIGH',
  }),
  textSetting('timestamp.format', "Pattern of Java's SimpleDateFormat for the time, in UTC.", {
    defaultValue: 'yyyyMMdd',
    importance: 'HIGH',
  }),
]

export function regexRouter(settings: SettingValues): Transform {
  const regex = javaRegex(settings.text('regex') ?? '')
  const replacement = settings.text('replacement') ?? ''
  return keepingLast((topic) => {
    if (!regex.matches(topic)) return topic
    const routed = regex.replaceFirst(topic, replacement)
    if (routed === 'malformed') return refuse('illegalArgument', `the replacement "${replacement}" is malformed`)
    if (routed === 'no group') {
      return refuse('indexOutOfBounds', `the replacement "${replacement}" names a group that the regex has not`)
    }
    return routed.text
  })
}

/** Topics change seldom from one record to the next. */
function keepingLast(route: (topic: string) => string): Transform {
  let from: string | undefined
  let to = ''
  return (record) => {
    if (record.topic !== from) {
      to = route(record.topic)
      from = record.topic
    }
    return to === from ? record : withTopic(record, to)
  }
}

export function timestampRouter(settings: SettingValues, { nowMillis }: ChainContext): Transform {
  const topicFormat = settings.text('topic.format') ?? ''
  const pattern = settings.text('timestamp.format') ?? ''
  let format: DateFormat | undefined
  let problem = ''
  try {
    format = dateFormat(pattern, nowMillis)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    problem = cause.message
  }
  return (record) => {
    if (record.timestamp === undefined) return refuse('data', 'the record has no timestamp')
    if (format === undefined) return refuse('illegalArgument', `timestamp.format: ${problem}`)
    const named = topicFormat.replaceAll(TOPIC, () => record.topic)
    const time = format.format(record.timestamp)
    return withTopic(
      record,
      named.replaceAll(TIMESTAMP, () => time),
    )
  }
}

function withTopic(record: ConnectRecord, topic: string): ConnectRecord {
  return {
    topic,
    partition: record.partition,
    keySchema: record.keySchema,
    key: record.key,
    valueSchema: record.valueSchema,
    value: record.value,
    timestamp: record.timestamp,
    headers: record.headers,
    offset: record.offset,
  }
}
