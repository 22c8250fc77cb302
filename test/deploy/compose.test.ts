/**
 * What docker-compose.yml, the Dockerfile and the settings beside them say to each other, checked without a container
 * engine: every file, folder, port, host name, volume and variable that one of them names is there in the other.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadSettingsWithOrigin } from '../../runtime/load-settings.ts'
import { copiesOf, listOf, ROOT, readCompose, readDockerfile, textOf } from './compose-file.ts'

const ENV = { MILLRACE_TOKEN: 'a-token-for-this-test', S3_SECRET_ACCESS_KEY: 'a-secret-for-this-test' }
const OURS = ['ingest', 'compactor', 'query'] as const
const SETTINGS_FILE = join(ROOT, 'deploy', 'millrace.compose.yaml')

const compose = readCompose(ENV)
const [dependencies, image] = readDockerfile()
const services = Object.entries(compose.services)

function settings() {
  return loadSettingsWithOrigin({ file: SETTINGS_FILE, env: compose.services.ingest.environment, set: [] }).settings
}

describe('docker-compose.yml', () => {
  test('refuses to start without the token and the secret, and says how to make them', () => {
    expect(() => readCompose({ S3_SECRET_ACCESS_KEY: 'x' })).toThrow(/MILLRACE_TOKEN is not set: .*token create/)
    expect(() => readCompose({ MILLRACE_TOKEN: 'x' })).toThrow(/S3_SECRET_ACCESS_KEY is not set/)
  })

  test('names images by version, and builds ours from this folder', () => {
    for (const [name, { image: tag, build }] of services) {
      expect(tag, name).toMatch(/:v?\d+\.\d+\.\d+$/)
      expect(build, name).toBe(tag.startsWith('millrace:') ? '.' : undefined)
    }
    expect(compose.services.ingest.image).toBe(`millrace:${packageJson().version}`)
  })

  test('mounts volumes that are declared, and files that are in this repository', () => {
    const used = new Set<string>()
    for (const [name, { volumes }] of services) {
      for (const volume of volumes) {
        const [source, target] = volume.split(':')
        expect(target, name).toMatch(/^\//)
        if (source.startsWith('./')) expect(existsSync(join(ROOT, source)), `${name}: ${source}`).toBe(true)
        else used.add(source)
      }
    }
    expect([...used].sort()).toEqual(Object.keys(compose.volumes).sort())
  })

  test('waits only for what can be waited for', () => {
    for (const [name, { depends_on }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const service = compose.services[other]
        expect(service, `${name} waits for ${other}`).toBeDefined()
        if (condition === 'service_healthy') expect(service.healthcheck, other).toBeDefined()
        // A one-shot that is restarted would never count as completed.
        if (condition === 'service_completed_successfully') expect(service.restart, other).toBe('no')
      }
    }
  })

  test('restarts what shall run, checks its health, and leaves it time to stop', () => {
    for (const name of OURS) {
      const service = compose.services[name]
      expect(service.restart).toBe('unless-stopped')
      expect(service.healthcheck?.test.join(' ')).toContain(`https://localhost:${settings().listen[name].port}/readyz`)
      expect(Number.parseInt(service.stop_grace_period ?? '0', 10) * 1000).toBeGreaterThan(settings().shutdownMs)
    }
    expect(compose.services.kafka.healthcheck).toBeDefined()
    expect(compose.services.s3.healthcheck).toBeDefined()
  })

  test('publishes ports on loopback only, those that the settings listen on', () => {
    for (const [name, { ports }] of services) {
      for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:(\d+):\1$/)
    }
    const { listen } = settings()
    for (const name of OURS)
      expect(compose.services[name].ports).toEqual([`127.0.0.1:${listen[name].port}:${listen[name].port}`])
  })

  test('gives the three services one catalog, on one volume', () => {
    const { data, catalog } = settings()
    expect(catalog.url).toBe(`sqlite:${data}/catalog.sqlite`)
    for (const name of OURS) {
      expect(compose.services[name].volumes).toContain(`data:${data}`)
      expect(compose.services[name].environment).toEqual(compose.services.ingest.environment)
    }
    expect(textOf(image, 'VOLUME')).toBe(data)
  })

  test('hands over the settings file that it mounts', () => {
    for (const name of OURS) {
      const { environment, volumes } = compose.services[name]
      expect(volumes).toContain(`./deploy/millrace.compose.yaml:${environment.MILLRACE_CONFIG}:ro`)
    }
  })

  test('makes a certificate for every name that a service is called by, where the settings look for it', () => {
    const { tls } = settings()
    const command = compose.services.setup.command?.join(' ') ?? ''
    for (const name of OURS) expect(command).toContain(`--host ${name}`)
    expect(command).toContain(`--folder ${dirname(tls.cert ?? '')}`)
    expect(command).toContain(`test -f ${tls.cert} ||`)
    expect(dirname(tls.key ?? '')).toBe(dirname(tls.cert ?? ''))
    expect(compose.services.ingest.environment.NODE_EXTRA_CA_CERTS).toBe(tls.cert)
    expect(compose.services.setup.volumes).toContain(`data:${settings().data}`)
  })

  test('points at the broker where it advertises itself, and makes the topics', () => {
    const { kafka, pipelines } = settings()
    const { KAFKA_ADVERTISED_LISTENERS: advertised, KAFKA_LISTENERS: listeners } = compose.services.kafka.environment
    expect(advertised.split(',')).toContain(`INSIDE://${kafka.bootstrap[0]}`)
    expect(listeners.split(',')).toContain('INSIDE://:9092')
    expect(advertised.split(',')).toContain('OUTSIDE://localhost:29092')
    expect(compose.services.kafka.ports).toEqual(['127.0.0.1:29092:29092'])
    const command = compose.services.topics.command ?? []
    expect(command).toContain(kafka.bootstrap[0])
    for (const topic of pipelines.flatMap(({ topics }) => topics)) expect(command).toContain(topic)
  })

  test('points at the store where it listens, with its keys, region and bucket', () => {
    const { storage, lake } = settings()
    const { s3, bucket } = compose.services
    const command = s3.command ?? []
    expect(storage.s3.endpoint).toBe(`http://s3${command[command.indexOf('--port') + 1]}`)
    expect(storage.s3.region).toBe(command[command.indexOf('--region') + 1])
    expect(storage.s3.pathStyle).toBe(true)
    expect(storage.s3.accessKeyId).toBe(s3.environment.ROOT_ACCESS_KEY)
    expect(storage.s3.secretAccessKey).toBe(s3.environment.ROOT_SECRET_KEY)
    expect(storage.s3.secretAccessKey).toBe(ENV.S3_SECRET_ACCESS_KEY)
    const folder = command[command.indexOf('posix') + 1]
    expect(lake.root).toMatch(/^s3:\/\/millrace\//)
    expect(bucket.entrypoint?.at(-1)).toBe(`${folder}/millrace`)
    expect(s3.volumes).toContain(`s3:${folder}`)
    expect(bucket.volumes).toContain(`s3:${folder}`)
  })
})

describe('deploy/millrace.compose.yaml', () => {
  test('is accepted with the variables of the compose file', () => {
    expect(settings().listen.query.host).toBe('0.0.0.0')
    expect(settings().tokens).toEqual([expect.objectContaining({ token: ENV.MILLRACE_TOKEN, rights: ['admin'] })])
  })

  test('is refused without the token', () => {
    expect(() => loadSettingsWithOrigin({ file: SETTINGS_FILE, env: {}, set: [] })).toThrow(/MILLRACE_TOKEN/)
  })
})

describe('Dockerfile', () => {
  const sources = [dependencies, image].flatMap(copiesOf).flatMap(({ from, sources }) => (from ? [] : sources))

  test('copies files that are there and that .dockerignore lets through', () => {
    const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n')
    for (const source of sources) {
      expect(existsSync(join(ROOT, source)), source).toBe(true)
      expect(ignored, source).not.toContain(source)
    }
  })

  test('installs from the lock file, on the Node that the package asks for', () => {
    expect(copiesOf(dependencies)[0].sources).toEqual(expect.arrayContaining(['package.json', 'package-lock.json']))
    expect(textOf(dependencies, 'RUN')).toBe('npm ci --omit=dev')
    for (const stage of [dependencies, image]) {
      expect(`>=${/^node:(\d+)-/.exec(textOf(stage, 'FROM'))?.[1]}`).toBe(packageJson().engines.node)
    }
  })

  test('runs the command line, which knows the commands of the compose file', () => {
    expect(listOf(image, 'ENTRYPOINT')).toEqual(['node', 'bin/millrace.ts'])
    expect(existsSync(join(ROOT, 'bin/millrace.ts'))).toBe(true)
    for (const name of OURS) expect(compose.services[name].command).toEqual([name])
  })

  test('runs as nobody special, who owns the volume', () => {
    expect(textOf(image, 'USER')).toBe('node')
    expect(textOf(image, 'RUN')).toContain(`chown node:node ${textOf(image, 'VOLUME')}`)
  })

  test('opens the ports that the services listen on', () => {
    const { listen } = settings()
    const opened = textOf(image, 'EXPOSE').split(' ').map(Number)
    expect(opened.sort()).toEqual(
      Object.values(listen)
        .map(({ port }) => port)
        .sort(),
    )
  })

  test('holds every file and package that the services import', () => {
    const copied = new Set(copiesOf(image).flatMap(({ from, sources }) => (from ? [] : sources)))
    const installed = Object.keys(packageJson().dependencies)
    const { files, packages } = importsOf(join(ROOT, 'bin', 'millrace.ts'))
    expect(files.size).toBeGreaterThan(50)
    const outside = [...files].filter((file) => !copied.has(relative(ROOT, file).split('/')[0]))
    expect(outside.map((file) => relative(ROOT, file))).toEqual([])
    expect([...packages].filter((name) => !installed.includes(name))).toEqual([])
  })

  test('copies no folder that nothing imports', () => {
    const { files } = importsOf(join(ROOT, 'bin', 'millrace.ts'))
    const used = new Set([...files].map((file) => relative(ROOT, file).split('/')[0]))
    const folders = copiesOf(image)
      .flatMap(({ from, sources }) => (from ? [] : sources))
      .filter((source) => statSync(join(ROOT, source)).isDirectory())
    expect(folders.filter((folder) => !used.has(folder))).toEqual([])
    expect(readdirSync(ROOT)).toEqual(expect.arrayContaining(folders))
  })
})

function packageJson() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string
    engines: { node: string }
    dependencies: Record<string, string>
  }
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\s(?:[^'";]*?\sfrom\s)?'([^']+)'|\bimport\('([^']+)'\)/g
/** Commands for a checkout, not for the image: they bring development packages and the test harness along. */
const NOT_IN_IMAGE = ['bin/demo/', 'bin/commands/demo.ts', 'bin/commands/test.ts']

/** Files and packages reachable from one file by static and dynamic imports. */
function importsOf(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>()
  const packages = new Set<string>()
  const waiting = [entry]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const path = relative(ROOT, file)
    if (files.has(file) || NOT_IN_IMAGE.some((each) => path.startsWith(each))) continue
    files.add(file)
    for (const match of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      if (/^\s*(?:import|export) type\s/.test(match[0])) continue
      const name = match[1] ?? match[2]
      if (name.startsWith('.')) waiting.push(join(dirname(file), name))
      else if (!name.startsWith('node:'))
        packages.add(
          name
            .split('/')
            .slice(0, name.startsWith('@') ? 2 : 1)
            .join('/'),
        )
    }
  }
  return { files, packages }
}
