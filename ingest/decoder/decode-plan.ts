/**
 * The border between the thread that talks (Kafka, catalog, registry) and those that turn bytes into rows.
 *
 *   block of records ─▶ BlockDecoder (made from a DecodePlan) ─▶ DecodedBlock: rows per table, dead letters, counts
 *                                                          └──▶ DecodeNeeds: a schema, a table or columns are missing
 *
 * A plan is plain data, so that it can be sent to a thread; a decoder is synchronous, pure and without I/O. What it does not
 * know it asks for: the owner fetches the schema, adds the columns or creates the table, makes a plan with a new number, and
 * gives the same block again. Nothing of a block that asked is kept.
 *
 * The rows of a block are those of one topic-partition. Each table's rows come as a micro-batch in the order of the records,
 * hidden columns filled in; dead letters are rows of the table's `__dead_letters`, in the same form.
 */
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import type { InferOptions } from './infer-schema.ts'

/** How bytes of a key or a value are to be read; `formats/` has a reader for each. */
export type ConverterPlan =
  /** `schemas.enable`: each record is `{schema, payload}` as Connect's JsonConverter writes it. */
  | {
      readonly format: 'json'
      readonly envelope: boolean
      /** `replace.null.with.default` is false: the default of a field's schema does not stand for null. */
      readonly nullStays?: boolean
    }
  /** With a registry: magic byte and schema id before each record; without: `schema` (JSON text, `.avsc`, `.proto`) for all. */
  | {
      readonly format: 'json-schema' | 'avro' | 'protobuf'
      readonly registry: boolean
      readonly schema?: string
      /** Protobuf without a registry: the message's full name; the first of the file by default. */
      readonly message?: string
    }
  | { readonly format: 'string' | 'bytes' }
  | {
      readonly format: 'csv'
      /** Names of the fields in order. */
      readonly fields: readonly string[]
      readonly delimiter: string
      readonly quote: string
      /** This text, unquoted, is null; by default an empty field is. */
      readonly nullText: string
    }

/** A schema from the registry, with those it refers to (by the name it uses for them). */
export type RegistrySchema = {
  readonly id: number
  readonly type: 'AVRO' | 'JSON' | 'PROTOBUF'
  readonly text: string
  readonly references: readonly { readonly name: string; readonly text: string }[]
  /** Its subject and version where known, for messages. */
  readonly label: string
}

export type TablePlan = {
  readonly tableId: number
  readonly name: string
  /** Current. undefined: there is none yet, and records that come here ask for one (`DecodeNeeds.topics`). */
  readonly schema: TableSchema | undefined
  readonly deadLetters: { readonly tableId: number; readonly schema: TableSchema }
  /**
   * Fields that are not asked for again, as paths (`formatPath`): dropped by a human, a name that no column can have, beyond
   * the bound. Their values are skipped and counted as unknown, whether the records have a schema or not.
   */
  readonly ignoredKeys: readonly string[]
  /** The table has as many columns as it may: fields that it lacks are skipped and counted. Widening may still be asked for. */
  readonly isFull?: boolean
  /** Names of record schemas that were asked for and may be decoded with what is there (`fit-record.ts`). */
  readonly settledSchemas?: readonly string[]
  /**
   * `evolve`: fields that the table lacks are asked for (`DecodeNeeds.columns`). `freeze`: they are skipped and counted.
   * `fail`: such a record is a dead letter.
   */
  readonly evolution: 'evolve' | 'freeze' | 'fail'
  /** How columns are inferred for keys of records without a schema; by default dates and timestamps from text, nested as json. */
  readonly inference?: InferOptions
}

export type DecodePlan = {
  /** Another number whenever anything else here differs; unique in the process. */
  readonly number: number
  readonly pipeline: string
  /** undefined: keys are not read (but dead letters keep their bytes). */
  readonly key: ConverterPlan | undefined
  readonly value: ConverterPlan
  /** Connect's single-message transforms, in order, checked; `connect/transforms/` compiles them. */
  readonly transforms: readonly TransformPlan[]
  /**
   * Columns besides those of the value: the headers as one map column, the key's fields with a prefix (`key_id`), or the whole
   * key where it is no record, under the prefix without what separates (`key`). Columns so named are never the value's.
   */
  readonly headersColumn: string | undefined
  readonly keyColumns: { readonly prefix: string } | undefined
  /** Where records of a topic (after the transforms) go: to each of these tables, by name. Missing: `DecodeNeeds.topics`. */
  readonly routes: Readonly<Record<string, readonly string[]>>
  readonly tables: Readonly<Record<string, TablePlan>>
  /** Schemas by registry id, as far as they were asked for. `undefined` text never: what cannot be had is in `refusedSchemas`. */
  readonly schemas: Readonly<Record<number, RegistrySchema>>
  /** Registry id (or `<table>:<schema name>` for one that a table cannot take) → why its records are dead letters. */
  readonly refusedSchemas: Readonly<Record<string, string>>
  /** A longer value is a dead letter. */
  readonly recordBytesMax: number
}

export type TransformPlan = {
  /** Its alias in `transforms`. */
  readonly name: string
  /** `org.apache.kafka.connect.transforms.InsertField$Value` */
  readonly type: string
  /** Its settings without the prefix, as given. */
  readonly settings: Readonly<Record<string, string>>
  readonly predicate?: {
    readonly type: string
    readonly settings: Readonly<Record<string, string>>
    readonly negate: boolean
  }
}

export type BlockDecoder = {
  /**
   * Records [first, block.count). `source` is the `_source` text, `arrivedMicros` the `_arrived` of the rows. `isFinal`:
   * whatever is asked for was asked for before and cannot be had, so the records that need it become dead letters.
   * Throws only for bugs: whatever a record holds ends in `DecodedBlock`.
   */
  decode(
    block: RecordBlock,
    first: number,
    source: string,
    arrivedMicros: number,
    isFinal: boolean,
  ): DecodedBlock | DecodeNeeds
}

export type CreateBlockDecoder = (plan: DecodePlan) => BlockDecoder

export type DecodedPiece = { readonly tableId: number; readonly schemaId: number; readonly batch: MicroBatch }

export type DecodedBlock = {
  readonly kind: 'decoded'
  /** At most one for each table; none is empty. */
  readonly pieces: readonly DecodedPiece[]
  /** Records [first, count) are as many as `rows + dead + filtered` for one table; a record in several tables counts once. */
  readonly dead: number
  /** Tombstones and records that a transform dropped. */
  readonly filtered: number
  readonly unknownKeys: number
  /** First reason of a dead letter in the block, for logs and status. */
  readonly deadReason: string | undefined
}

export type DecodeNeeds = {
  readonly kind: 'needs'
  /** Registry ids. `isKey`: first seen in a key. */
  readonly schemas: readonly { readonly id: number; readonly isKey: boolean; readonly topic: string }[]
  /** Fields that a table lacks, or has with a narrower type, or requires and the records may lack. */
  readonly columns: readonly {
    readonly table: string
    readonly schemaName: string
    readonly fields: readonly RecordField[]
  }[]
  /**
   * Topics (after the transforms) without a route, or with one to a table that has no schema yet. `fields`: what their records
   * would make, for a table that is to be created. `samples`: values of schemaless records (copies), from which an owner that
   * wants to see more blocks first infers the columns itself.
   */
  readonly topics: readonly {
    readonly topic: string
    readonly fields: readonly RecordField[]
    readonly samples: readonly Uint8Array[]
  }[]
}
