/**
 * The texts that Connect gives dates and times where no format is set: a time alone (also everything before 1970-01-02), a date
 * alone at midnight, otherwise both. And back, as far as Connect reads such texts in literals.
 */
import { DAY_MS } from './calendar.ts'
import { dateFormat } from './date-format.ts'

/** No part of these patterns depends on the time they were made. */
export const ISO_DATE = dateFormat('yyyy-MM-dd', 0)
export const ISO_TIME = dateFormat("HH:mm:ss.SSS'Z'", 0)
export const ISO_TIMESTAMP = dateFormat("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", 0)

export function isoText(millis: number): string {
  if (millis < DAY_MS) return ISO_TIME.format(millis)
  return (millis % DAY_MS === 0 ? ISO_DATE : ISO_TIMESTAMP).format(millis)
}
