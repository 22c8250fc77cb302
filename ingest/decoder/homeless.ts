/**
 * Records without any table: there is no place for their dead letters either, so nothing may be counted as read. Plans route
 * every topic that they were asked for; a pipeline that meets this stops.
 */
import { MillraceError } from '../../schemas/errors.ts'

export function homeless(topic: string): MillraceError {
  return new MillraceError('internal', `records of topic "${topic}" have no table, so that none of them can be kept`)
}
