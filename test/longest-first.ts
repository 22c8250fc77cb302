/**
 * The order in which test files start: those that take longest first, so that no worker is still at one of them when the
 * others have nothing left to do. Vitest would know their times only where they have run before.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Longest first, as measured; all others are shorter, and go by the size of their text. */
export const LONGEST: readonly string[] = [
  'test/main-job/disturbances',
  'test/processes/postgres-away',
  'test/lake/random-crashes',
  'test/main-job/flights',
  'test/operations/dead-letters',
  'test/demo/demo',
  'test/processes/readers-grace',
  'test/lake/compactor-crash',
  'test/rebuild/lost-catalog',
  'test/processes/two-compactors',
  'test/processes/postgres-hangs',
  'ingest/kafka/kafka-source',
  'test/processes/frozen-ingest',
  'test/main-job/catch-up',
  'test/main-job/columns-by-hand',
  'test/lake/ingest-crash',
  'test/operations/offsets',
  'test/processes/postgres-cut',
  'test/rebuild/older-copy',
  'test/rebuild/merged-segments',
  'test/lake/check-postgres',
  'test/operations/security',
  'test/lake/merged-segments',
  'test/connect/connectors',
  'test/main-job/evolution',
  'test/main-job/two-tables',
  'test/lake/foreign-readers',
  'test/connect/incompatible',
  'test/processes/balanced-queries',
  'test/main-job/three-folders',
  'test/processes/health',
  'test/connect/rest-comparison',
  'query/engines/many-users',
].map((name) => `${name}.service.test.ts`)

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}`))
      return index < 0 ? LONGEST.length : index
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}
