/**
 * A real S3 server for tests: versitygw over a temporary folder, compiled once into the user's cache folder (several
 * minutes on a cold machine, seconds afterwards).
 *
 * `MILLRACE_TEST_S3=http://key:secret@127.0.0.1:9000[?region=eu-west-1]` uses a running server instead; it is then not ours
 * to stop, kill or pause, and tests that do so say it. Without Go and without that variable: one line saying what to do.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createS3Bucket } from '../../lake/object-store/s3.ts'
import { cachedFolder } from './cache-folder.ts'
import { freePort } from './free-port.ts'
import { runToEnd, type StartedProcess, startProcess } from './processes.ts'

const VERSION = 'v1.8.0'
const PACKAGE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`
const ACCESS_KEY_ID = 'testkey'
const SECRET_ACCESS_KEY = 'testsecret123'
const REGION = 'us-east-1'

export type S3Server = {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
  /** Makes the bucket if there is none and gives its name. */
  bucket(name: string): Promise<string>
  /** Folder with the buckets as folders in it; undefined for a server that is not ours. */
  readonly folder: string | undefined
  /** Ends it and removes its bytes. */
  stop(): Promise<void>
  /** SIGKILL; the bytes stay for `restart`. */
  kill(): Promise<void>
  /** On the same port with the same bytes. */
  restart(): Promise<void>
  pause(): void
  resume(): void
}

export async function startS3Server(): Promise<S3Server> {
  const running = process.env.MILLRACE_TEST_S3
  if (running) return useRunningServer(running)
  const binary = await versitygwBinary()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-s3-'))
  const port = await freePort()
  const start = () =>
    startProcess({
      name: 'versitygw',
      command: binary,
      args: ['--port', `127.0.0.1:${port}`, '--region', REGION, 'posix', folder],
      env: { ROOT_ACCESS_KEY: ACCESS_KEY_ID, ROOT_SECRET_KEY: SECRET_ACCESS_KEY },
      ready: { port },
      readyTimeoutMs: 60_000,
    })
  let started: StartedProcess = await start()
  const address = {
    endpoint: `http://127.0.0.1:${port}`,
    accessKeyId: ACCESS_KEY_ID,
    secretAccessKey: SECRET_ACCESS_KEY,
    region: REGION,
  }
  return {
    ...address,
    folder,
    bucket: (name) => makeBucket(address, name),
    async stop() {
      started.resume()
      await started.stop()
      await rm(folder, { recursive: true, force: true })
    },
    async kill() {
      await started.kill()
    },
    async restart() {
      await started.kill()
      started = await start()
    },
    pause: () => started.pause(),
    resume: () => started.resume(),
  }
}

function useRunningServer(variable: string): S3Server {
  const url = new URL(variable)
  if (url.username === '' || url.password === '') {
    throw new Error('MILLRACE_TEST_S3: expected http://accessKeyId:secretAccessKey@host:port, found no keys in it')
  }
  const address = {
    endpoint: `${url.protocol}//${url.host}`,
    accessKeyId: decodeURIComponent(url.username),
    secretAccessKey: decodeURIComponent(url.password),
    region: url.searchParams.get('region') ?? REGION,
  }
  const notOurs = (): never => {
    throw new Error('this test stops and starts the S3 server: unset MILLRACE_TEST_S3 to let it start one of its own')
  }
  return {
    ...address,
    folder: undefined,
    bucket: (name) => makeBucket(address, name),
    stop: async () => {},
    kill: async () => notOurs(),
    restart: async () => notOurs(),
    pause: notOurs,
    resume: notOurs,
  }
}

/** Where the binary is, after compiling it when there is none. */
export async function versitygwBinary(): Promise<string> {
  const folder = await cachedFolder({
    name: `versitygw-${VERSION}`,
    alreadyThere: async (candidate) => existsSync(join(candidate, 'versitygw')),
    build: async (target) => {
      await requireGo()
      await runToEnd({
        name: 'go install versitygw',
        command: 'go',
        args: ['install', PACKAGE],
        env: { GOBIN: target, GOFLAGS: '-mod=mod' },
        cwd: target,
      })
    },
  })
  return join(folder, 'versitygw')
}

async function requireGo(): Promise<void> {
  try {
    await runToEnd({ name: 'go', command: 'go', args: ['version'] })
  } catch (cause) {
    throw new Error(
      'tests against S3 need Go to compile their server: install Go (https://go.dev/dl), ' +
        'or set MILLRACE_TEST_S3=http://key:secret@host:port to use a running one',
      { cause },
    )
  }
}

async function makeBucket(
  address: Pick<S3Server, 'endpoint' | 'accessKeyId' | 'secretAccessKey' | 'region'>,
  name: string,
): Promise<string> {
  await createS3Bucket(name, { ...address, pathStyle: true })
  return name
}
