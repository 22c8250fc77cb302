/**
 * The lake of one run: bucket, catalog and cluster that outlive the processes, the model that checks them, and the bug that
 * was planted, if any. A planted bug bends what a component is given or what lands in the catalog; production code has no
 * switch for it (`planted-bugs.ts`).
 */
import type { HttpIntake } from '../../ingest/http-intake.ts'
import type { Intake } from '../../ingest/intake.ts'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { createModel, type Model } from './model.ts'
import { type CatalogDatabase, connectCatalog, emptyDatabase, type Landing } from './simulated-catalog.ts'
import { type Broker, createBroker } from './simulated-kafka.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { type Bucket, connectStore, createBucket } from './simulated-store.ts'
import type { Universe } from './universe.ts'

export type PlantedBug = {
  readonly name: string
  /** Where a request lands in the catalog. */
  readonly landing?: (lake: Lake, landing: Landing, run: () => Promise<unknown>) => Promise<unknown>
  readonly catalog?: (catalog: Catalog, lake: Lake) => Catalog
  readonly store?: (store: ObjectStore, lake: Lake) => ObjectStore
  readonly pipelineCatalog?: (catalog: Catalog, lake: Lake) => Catalog
  readonly workerCatalog?: (catalog: Catalog, lake: Lake) => Catalog
  readonly sweepCatalog?: (catalog: Catalog, lake: Lake) => Catalog
  readonly httpIntake?: (http: HttpIntake, intake: Intake) => HttpIntake
}

export type Lake = {
  readonly universe: Universe
  readonly database: CatalogDatabase
  readonly bucket: Bucket
  readonly broker: Broker
  readonly model: Model
  readonly bug: PlantedBug | undefined
  catalogOf(process: SimulatedProcess): Catalog
  storeOf(process: SimulatedProcess): ObjectStore
}

export function createLake(universe: Universe, database: CatalogDatabase, bug: PlantedBug | undefined): Lake {
  emptyDatabase(database)
  const bucket = createBucket(universe)
  const broker = createBroker(universe, { parts: 2 })
  const model = createModel({ universe, database, bucket, broker })
  bucket.onDelete(model.deleting)

  async function around<T>(landing: Landing, run: () => Promise<T>): Promise<T> {
    try {
      const result = bug?.landing ? ((await bug.landing(lake, landing, run)) as T) : await run()
      const outcome = (result as { outcome?: string } | undefined)?.outcome
      if (outcome !== undefined) universe.tally(`${landing.method}: ${outcome}`)
      return result
    } catch (error) {
      if (isMillraceError(error)) universe.tally(`${landing.method}: ${error.code}`)
      if (isMillraceError(error) && (error.code === 'internal' || error.code === 'invariant-broken')) {
        universe.violation(
          error.code,
          `${landing.method}: ${error.message} ${JSON.stringify(error.facts, textOfBigint)}`,
        )
      }
      throw error
    } finally {
      await model.landed(landing)
    }
  }

  const lake: Lake = {
    universe,
    database,
    bucket,
    broker,
    model,
    bug,
    catalogOf(process) {
      const catalog = connectCatalog(universe, database, process, around)
      return bug?.catalog?.(catalog, lake) ?? catalog
    },
    storeOf(process) {
      const store = connectStore(universe, bucket, process)
      return bug?.store?.(store, lake) ?? store
    },
  }
  return lake
}

function textOfBigint(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
