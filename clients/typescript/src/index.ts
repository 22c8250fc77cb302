/**
 * A client of Millrace's query service for Node and browsers, without dependencies.
 *
 *   const millrace = createClient({ url: 'http://127.0.0.1:8080' })
 *   const { rows } = await millrace.query('SELECT city, max(degrees) AS warmest FROM visits GROUP BY 1')
 */
export { type ArrowStream, createClient, type MillraceClient, type QueryResult, type RowStream } from './client.ts'
export { MillraceError, type Position } from './error.ts'
export type {
  ClientOptions,
  Column,
  Offset,
  Param,
  Params,
  QueryOptions,
  QueryStatus,
  Stats,
  TableInfo,
  TableSeen,
  TypedParam,
  Value,
  WaitFor,
} from './types.ts'
