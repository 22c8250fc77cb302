/**
 * Kafka Connect's own classes, for tests that compare ours with them: the jars come from Maven Central once per user, a Java
 * program of the test runs on them (the JDK compiles it on the way) and answers a file of questions, one JSON document a line.
 *
 * The newest JDK of the machine is taken: the texts of floats are those of Java 19 and later.
 */
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { KAFKA_VERSION } from './kafka-jars.ts'
import { runToEnd } from './processes.ts'

const ARTIFACTS = ['connect-api', 'connect-transforms', 'connect-runtime', 'connect-json']

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>connect-runtime-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
${ARTIFACTS.map(
  (name) =>
    `    <dependency><groupId>org.apache.kafka</groupId><artifactId>${name}</artifactId><version>${KAFKA_VERSION}</version></dependency>`,
).join('\n')}
  </dependencies>
</project>
`

const JVMS = '/usr/lib/jvm'

export async function askConnect(program: string, questions: readonly unknown[]): Promise<readonly unknown[]> {
  const jars = await cachedFolder({ name: `connect-runtime-${KAFKA_VERSION}`, build: fetchJars })
  const folder = await mkdtemp(join(tmpdir(), 'millrace-oracle-'))
  try {
    const [asked, answered] = [join(folder, 'questions'), join(folder, 'answers')]
    await writeFile(asked, questions.map((question) => `${JSON.stringify(question)}\n`).join(''))
    await runToEnd({
      name: 'connect',
      command: newestJava(),
      args: [
        '-Xmx512m',
        '-XX:+UseSerialGC',
        '-Duser.timezone=UTC',
        '-Duser.language=en',
        '-Duser.country=US',
        '-cp',
        join(jars, 'libs', '*'),
        program,
        asked,
        answered,
      ],
    })
    const lines = (await readFile(answered, 'utf8')).trimEnd().split('\n')
    return lines.map((line): unknown => JSON.parse(line))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function fetchJars(folder: string): Promise<void> {
  await writeFile(join(folder, 'pom.xml'), POM)
  const args = ['dependency:copy-dependencies', `-DoutputDirectory=${join(folder, 'libs')}`, '-DincludeScope=runtime']
  await runToEnd({ name: 'maven', command: 'mvn', args: ['-q', '-B', ...args], cwd: folder })
}

function newestJava(): string {
  const found = existsSync(JVMS) ? readdirSync(JVMS) : []
  const jdks = found
    .map((name) => ({ version: Number(/\d+/.exec(name)?.[0] ?? 0), java: join(JVMS, name, 'bin', 'java') }))
    .filter(({ java }) => existsSync(java) && existsSync(`${java}c`))
  return jdks.sort((a, b) => b.version - a.version)[0]?.java ?? 'java'
}
