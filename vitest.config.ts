import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/longest-first.ts'

// Three projects: `unit` needs nothing but Node (under a minute); `simulation` runs the lake under a seeded scheduler on all
// cores (see test/simulation/); `services` starts real brokers, S3 servers and Millrace processes (see test/harness/).
// Unit tests sit beside their code as `*.test.ts`.
// Tests that need a real server or a real process are named `*.service.test.ts`.
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: ['**/node_modules/**', '**/.runtime/**', '**/*.service.test.ts', 'test/simulation/**'],
          pool: 'forks',
          // Modules keep nothing that a test could find: loading them once per process, not per file, takes half of the time.
          isolate: false,
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          pool: 'forks',
          testTimeout: 900_000,
        },
      },
      {
        test: {
          name: 'services',
          include: ['**/*.service.test.ts'],
          exclude: ['**/node_modules/**', '**/.runtime/**'],
          pool: 'forks',
          // Most of them wait for servers: two files at once leave a quarter of two cores idle.
          maxWorkers: 3,
          // Where Node keeps compiled code by itself: told before it starts, the hundreds of processes start sooner.
          env: { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache') },
          testTimeout: 180_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
})
