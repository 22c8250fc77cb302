/**
 * Parquet files of everybody who writes them, all with the same rows, in every codec and encoding that each writes: made once per
 * user, in a cached folder named after the programs that make them. The rows are said once more here, in SQL.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Engine } from '../../lake/engine/engine.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import { type SampleColumn, type SampleValue, sampleBatch } from '../../lake/parquet/sample-batches.ts'
import { writeParquet } from '../../lake/parquet/write.ts'
import { cachedFolder } from '../harness/cache-folder.ts'
import { runToEnd } from '../harness/processes.ts'
import { runPython } from '../harness/python.ts'

export const ROWS = 6000
const PARQUET_JAVA_VERSION = '1.17.1'
const PYTHON_PROGRAM = join(import.meta.dirname, 'write-files.py')
const JAVA_PROGRAM = join(import.meta.dirname, 'WriteFiles.java')
const POLARS = join(import.meta.dirname, 'polars-requirements.txt')

/** Column → its value of row `i`, as DuckDB computes it. */
export const COLUMNS: Readonly<Record<string, string>> = {
  i: 'i * 7919',
  n: '(i % 13)::INT',
  d: 'i * 0.25::DOUBLE',
  f: '((i % 1000) * 0.5)::FLOAT',
  b: 'i % 3 = 0',
  s: `'text ' || (i * 2654435761 % 4294967296)`,
  r: `'value ' || (i % 5)`,
  t: 'make_timestamp(1700000000000000 + i * 1000000)',
  z: 'CASE WHEN i % 4 = 0 THEN NULL ELSE i END',
  x: 'unhex(md5(i::VARCHAR))',
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>parquet-java-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.parquet</groupId><artifactId>parquet-hadoop</artifactId><version>${PARQUET_JAVA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-api</artifactId><version>3.4.2</version></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-runtime</artifactId><version>3.4.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.18</version></dependency>
  </dependencies>
</project>
`

/** The folder of the files that others write. */
export function foreignFiles(): Promise<string> {
  const programs = [import.meta.filename, PYTHON_PROGRAM, JAVA_PROGRAM, POLARS].map((file) => readFileSync(file))
  const hash = createHash('sha256').update(Buffer.concat(programs)).digest('hex').slice(0, 12)
  return cachedFolder({
    name: `parquet-files-${hash}`,
    async build(folder) {
      await Promise.all([
        runPython({ file: PYTHON_PROGRAM }, ['pyarrow', folder]),
        runPython({ file: PYTHON_PROGRAM }, ['polars', folder], { requirements: POLARS }),
        writeWithJava(folder),
      ])
    },
  })
}

async function writeWithJava(folder: string): Promise<void> {
  const jars = await cachedFolder({ name: `parquet-java-${PARQUET_JAVA_VERSION}`, build: fetchJars })
  const options = ['-Xmx512m', '-XX:+UseSerialGC', '-cp', join(jars, 'libs', '*')]
  await runToEnd({ name: 'parquet-java', command: 'java', args: [...options, JAVA_PROGRAM, folder] })
  // Hadoop's checksums of its local files.
  for (const name of await readdir(folder)) if (name.endsWith('.crc')) await rm(join(folder, name))
}

async function fetchJars(folder: string): Promise<void> {
  await writeFile(join(folder, 'pom.xml'), POM)
  const args = ['dependency:copy-dependencies', `-DoutputDirectory=${join(folder, 'libs')}`, '-DincludeScope=runtime']
  await runToEnd({ name: 'maven', command: 'mvn', args: ['-q', '-B', ...args], cwd: folder })
}

/** Files of DuckDB and our own, into this folder. */
export async function writeOwnFiles(engine: Engine, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const columns = Object.entries(COLUMNS).map(([name, sql]) => `${sql} AS ${name}`)
  const rows = `SELECT ${columns.join(', ')} FROM range(${ROWS}) r(i)`
  for (const codec of ['uncompressed', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4_raw']) {
    for (const version of ['V1', 'V2']) {
      const file = join(folder, `duckdb ${codec} ${version}.parquet`)
      await engine.run(
        `COPY (${rows}) TO ${quoteText(file)} (FORMAT parquet, COMPRESSION ${codec}, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048, WRITE_BLOOM_FILTER true)`,
      )
    }
  }
  const values = await engine.run(`SELECT * REPLACE (epoch_us(t) AS t) FROM (${rows})`)
  const types = { i: 'long', n: 'int', d: 'double', f: 'float', b: 'boolean', s: 'string', r: 'string', t: 'timestamp' }
  const sample: SampleColumn[] = Object.entries({ ...types, z: 'long', x: 'binary' } as const).map(([name, kind]) => {
    return { name, type: { kind } as SampleColumn['type'], values: values.map((row) => row[name] as SampleValue) }
  })
  for (const compression of ['none', 'zstd'] as const) {
    const { bytes } = writeParquet(sampleBatch(sample), { compression, level: 1, rowGroupRows: 2000, keyValues: {} })
    await writeFile(join(folder, `millrace ${compression}.parquet`), bytes)
  }
}
