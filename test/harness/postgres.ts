/**
 * A real PostgreSQL server for tests: a plain process on a free port of 127.0.0.1 over a temporary folder, with a database per
 * test. It writes as a server in use does (`fsync` on), only smaller.
 *
 * PostgreSQL refuses to run as root: then it runs as the user `nobody`, who owns the temporary folder and may need a copy of the
 * programs there.
 *
 * Its processes each have a group of their own, so pausing and killing look for them by their parent; when the server dies,
 * they notice and end by themselves.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, chown, cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { cachedFolder } from './cache-folder.ts'
import { freePort } from './free-port.ts'
import { postgresBinaries } from './postgres-binaries.ts'
import { runToEnd, type StartedProcess, startProcess } from './processes.ts'

export type PostgresServer = {
  readonly port: number
  /** Of the process that starts all others. */
  readonly pid: number
  readonly user: string
  readonly password: string
  /** Address of the server's own first database. */
  readonly url: string
  /** A new, empty database; gives its address. */
  createDatabase(): Promise<string>
  /** Ends it and removes its bytes. */
  stop(): Promise<void>
  /** SIGKILL to all its processes; the bytes stay for `restart`. */
  kill(): Promise<void>
  /** On the same port with the same bytes; ends it first when it runs. */
  restart(): Promise<void>
  /** SIGSTOP and SIGCONT to all its processes. */
  pause(): void
  resume(): void
  /** Of all its processes, in seconds since they started; those that have ended count in their parent. */
  cpuSeconds(): number
}

const USER = 'millrace'
const PASSWORD = 'test:secret/123'
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '16MB',
  max_connections: '100',
  fsync: 'on',
  log_checkpoints: 'off',
}
const FAST_STOP_MS = 10_000
const RESTART_TRIES = 50
const RESTART_PAUSE_MS = 100
/** USER_HZ, the same on every Linux. */
const TICKS_PER_SECOND = 100

type Owner = { readonly uid: number; readonly gid: number }

export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const owner = process.getuid?.() === 0 ? await nobody() : undefined
  const folder = await mkdtemp(join(tmpdir(), 'millrace-postgres-'))
  if (owner) await chown(folder, owner.uid, owner.gid)
  const binaries = await readableBinaries(await postgresBinaries(), folder, owner)
  const data = join(folder, 'data')
  await copyInitialised(binaries, folder, data, owner)
  const port = await freePort()
  const given = Object.entries({ ...SETTINGS, port: String(port), ...settings })

  const start = () =>
    startProcess({
      name: 'postgres',
      command: join(binaries, 'postgres'),
      args: ['-D', data, ...given.flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      env: { LC_ALL: 'C' },
      cwd: folder,
      user: owner,
      ready: { line: /database system is ready to accept connections/ },
      readyTimeoutMs: 60_000,
    })
  let started: StartedProcess = await start()
  let databases = 0

  async function end(): Promise<void> {
    signalAll(started, 'SIGCONT')
    // SIGINT ends transactions and connections, SIGTERM would wait for clients.
    started.signal('SIGINT')
    const timer = setTimeout(() => killAll(started), FAST_STOP_MS)
    await started.exited
    clearTimeout(timer)
  }

  const urlOf = (database: string) => `postgres://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/${database}`
  return {
    port,
    get pid() {
      return started.pid
    },
    user: USER,
    password: PASSWORD,
    url: urlOf('postgres'),
    async createDatabase() {
      databases += 1
      const name = `test_${databases}`
      await runSql(urlOf('postgres'), `create database ${name}`)
      return urlOf(name)
    },
    async stop() {
      if (started.exit() === undefined) await end()
      await rm(folder, { recursive: true, force: true })
    },
    async kill() {
      killAll(started)
      await started.exited
    },
    async restart() {
      if (started.exit() === undefined) await end()
      started = await startAgain(start)
    },
    pause: () => signalAll(started, 'SIGSTOP'),
    resume: () => signalAll(started, 'SIGCONT'),
    cpuSeconds: () => cpuSecondsOf(started.pid),
  }
}

/**
 * Gives a database a clock of its own, which stands still until it is moved: its sessions find this `clock_timestamp` before the
 * server's.
 */
export async function holdClock(url: string, atMicros: bigint): Promise<void> {
  const database = new URL(url).pathname.slice(1)
  await runSql(
    url,
    `create table held_clock (micros bigint not null);
    insert into held_clock values (${atMicros});
    create function public.clock_timestamp() returns timestamptz language sql volatile as
      'select timestamptz ''epoch'' + micros * interval ''1 microsecond'' from public.held_clock';
    alter database ${database} set search_path = public, pg_catalog`,
  )
}

export async function moveHeldClock(url: string, ms: number): Promise<void> {
  await runSql(url, `update held_clock set micros = micros + ${ms * 1000}`)
}

/** One statement over a connection of its own; gives the rows. */
export async function runSql(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

/** A transaction that has run this statement and stands still; what is given undoes it. */
export async function openTransaction(url: string, text: string): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query('begin')
  await client.query(text)
  return async () => {
    await client.query('rollback')
    await client.end()
  }
}

async function nobody(): Promise<Owner> {
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map((flag) => runToEnd({ name: 'id', command: 'id', args: [flag, 'nobody'] })),
  )
  return { uid: Number(uid), gid: Number(gid) }
}

/** The cache folder of root is closed to others. */
async function readableBinaries(binaries: string, folder: string, owner: Owner | undefined): Promise<string> {
  if (!owner || isOpenToAll(binaries)) return binaries
  const copy = join(folder, 'programs')
  await cp(dirname(binaries), copy, { recursive: true, verbatimSymlinks: true })
  await chmod(copy, 0o755)
  return join(copy, 'bin')
}

function isOpenToAll(folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false
    if (path === dirname(path)) return true
  }
}

/** What `initdb` makes is made once per user: it takes more than a CPU-s, and every test file starts with the same. */
async function copyInitialised(
  binaries: string,
  folder: string,
  data: string,
  owner: Owner | undefined,
): Promise<void> {
  const said = await runToEnd({ name: 'postgres', command: join(binaries, 'postgres'), args: ['--version'] })
  const version = said.trim().replaceAll(/[^\w.]+/g, '-')
  const copy = (from: string, to: string) => runToEnd({ name: 'cp', command: 'cp', args: ['-a', from, to] })
  const made = await cachedFolder({
    name: `initialised-${version}-${owner?.uid ?? process.getuid?.()}`,
    async build(target) {
      await initialise(binaries, folder, data, owner)
      await copy(data, join(target, 'data'))
      await rm(data, { recursive: true })
    },
  })
  await copy(join(made, 'data'), data)
}

async function initialise(binaries: string, folder: string, data: string, user: Owner | undefined): Promise<void> {
  accessSync(join(binaries, 'initdb'), constants.X_OK)
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, `${PASSWORD}\n`)
  if (user) await chown(passwordFile, user.uid, user.gid)
  await runToEnd({
    name: 'initdb',
    command: join(binaries, 'initdb'),
    args: [
      '-D',
      data,
      '-U',
      USER,
      '-E',
      'UTF8',
      '--no-locale',
      '--no-sync',
      '-A',
      'scram-sha-256',
      '--pwfile',
      passwordFile,
    ],
    env: { LC_ALL: 'C' },
    cwd: folder,
    user,
  })
}

/** After a kill its last processes may still hold the memory they shared: it refuses to start for a moment. */
async function startAgain(start: () => Promise<StartedProcess>): Promise<StartedProcess> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await start()
    } catch (error) {
      if (tries === RESTART_TRIES) throw error
      await sleep(RESTART_PAUSE_MS)
    }
  }
}

type ListedProcess = { readonly pid: number; readonly parent: number; readonly cpuSeconds: number }

/** From `/proc` where there is one: a bare Linux may lack `ps`. */
function listProcesses(): ListedProcess[] {
  return existsSync('/proc/self/stat') ? processesOfProc() : processesOfPs()
}

/** The name may contain anything, also spaces; state, parent and, as 12th and 13th, user and system time follow it. */
function processesOfProc(): ListedProcess[] {
  const found: ListedProcess[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
      const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
      found.push({ pid: Number(name), parent: Number(fields[1]), cpuSeconds })
    } catch {
      // It ended just now.
    }
  }
  return found
}

/** Time is `[[dd-]hh:]mm:ss[.cc]`. */
function processesOfPs(): ListedProcess[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,time='], { encoding: 'utf8' }).split('\n')
  return lines.flatMap((line) => {
    const [pid, parent, time] = line.trim().split(/\s+/)
    if (time === undefined) return []
    const parts = time.split(/[-:]/).reverse()
    const cpuSeconds = parts.reduce((sum, part, index) => sum + Number(part) * [1, 60, 3600, 86_400][index], 0)
    return [{ pid: Number(pid), parent: Number(parent), cpuSeconds }]
  })
}

function signalAll(server: StartedProcess, signal: NodeJS.Signals): void {
  if (server.exit() !== undefined) return
  // The server first: it starts no more processes while the others are looked for.
  server.signal(signal)
  for (const { pid, parent } of listProcesses()) {
    if (parent !== server.pid) continue
    try {
      process.kill(pid, signal)
    } catch {
      // It ended just now.
    }
  }
}

function killAll(server: StartedProcess): void {
  signalAll(server, 'SIGKILL')
}

function cpuSecondsOf(server: number): number {
  return listProcesses()
    .filter(({ pid, parent }) => pid === server || parent === server)
    .reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
}
