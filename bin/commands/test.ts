/**
 * `millrace test`: everything that must hold before a change lands. Types, format and lint, the lock file, unit tests, the
 * simulation, then the tests with real brokers, S3 servers and processes. Nothing is skipped: what a test needs and the
 * machine lacks is a failure of one line that says what to install or which variable points at a running one.
 *
 * The last line is `N passed, N failed`: each step counts as one, each test of vitest as one.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Command } from 'commander'

type Count = { passed: number; failed: number }
type VitestReport = {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numFailedTestSuites: number
}

const ROOT = join(import.meta.dirname, '..', '..')

export function addTestCommand(program: Command): void {
  program
    .command('test')
    .description('Check types, format and lock file and run all tests of this repository.')
    .option('--unit', 'without the tests that start real servers')
    .addHelpText(
      'after',
      `
Examples:
  millrace test
  MILLRACE_TEST_KAFKA=localhost:9092 MILLRACE_TEST_S3=http://key:secret@localhost:9000 millrace test`,
    )
    .action((options: { unit?: boolean }) => {
      const count = runAll(options.unit ?? false)
      process.stdout.write(`${count.passed} passed, ${count.failed} failed\n`)
      process.exitCode = count.failed === 0 ? 0 : 1
    })
}

function runAll(unitOnly: boolean): Count {
  const total: Count = { passed: 0, failed: 0 }
  const add = (count: Count) => {
    total.passed += count.passed
    total.failed += count.failed
  }
  add(step('types', ['node_modules/typescript/bin/tsc', '--noEmit']))
  add(step('format and lint', ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']))
  add(step('lock file', ['scripts/complete-lock-file.ts', '--check']))
  add(vitest('unit'))
  add(vitest('simulation'))
  if (!unitOnly) {
    const missing = missingTools()
    for (const line of missing) process.stdout.write(`✗ ${line}\n`)
    total.failed += missing.length
    add(vitest('services'))
  }
  return total
}

function step(name: string, args: readonly string[]): Count {
  process.stdout.write(`• ${name}\n`)
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env: environment() })
  return status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
}

function vitest(project: 'unit' | 'simulation' | 'services'): Count {
  process.stdout.write(`• tests: ${project}\n`)
  const folder = mkdtempSync(join(tmpdir(), 'millrace-report-'))
  const report = join(folder, 'report.json')
  try {
    const args = ['node_modules/vitest/vitest.mjs', 'run', '--project', project, '--reporter=dot', '--reporter=json']
    const { status } = spawnSync(process.execPath, [...args, `--outputFile.json=${report}`], {
      cwd: ROOT,
      stdio: 'inherit',
      env: environment(),
    })
    return countOf(report, status)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A file that cannot be loaded, a skipped test or an unhandled error is a failure, though no test of its own failed. */
function countOf(report: string, status: number | null): Count {
  if (!existsSync(report)) return { passed: 0, failed: 1 }
  const counts = JSON.parse(readFileSync(report, 'utf8')) as VitestReport
  const failed = counts.numFailedTests + counts.numPendingTests
  return { passed: counts.numPassedTests, failed: failed === 0 && status !== 0 ? 1 : failed }
}

/** Tools that the service tests start themselves; our own Node comes first for everything that they start. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}` }
}

function missingTools(): string[] {
  const missing: string[] = []
  if (!process.env.MILLRACE_TEST_KAFKA) {
    const version = outputOf('java', ['-version'])
    const major = Number(/version "(\d+)/.exec(version ?? '')?.[1] ?? 0)
    const instead = 'or set MILLRACE_TEST_KAFKA=host:port to a running broker'
    if (major < 17)
      missing.push(`Java 17 or newer is missing: install it (Debian: openjdk-17-jdk-headless), ${instead}`)
    if (outputOf('mvn', ['--version']) === undefined)
      missing.push(`Maven is missing: install it (Debian: maven), ${instead}`)
  }
  if (!process.env.MILLRACE_TEST_S3 && outputOf('go', ['version']) === undefined) {
    const instead = 'or set MILLRACE_TEST_S3=http://key:secret@host:port to a running S3 server'
    missing.push(`Go is missing: install it (Debian: golang), ${instead}`)
  }
  if (outputOf('python3', ['--version']) === undefined) {
    missing.push('Python 3 is missing: install it with venv (Debian: python3-venv); foreign readers are tested with it')
  }
  return missing
}

/** Both streams: java prints its version to stderr. */
function outputOf(command: string, args: readonly string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  return status === 0 ? stdout + stderr : undefined
}
