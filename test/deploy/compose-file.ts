/**
 * docker-compose.yml and the Dockerfile as data, for tests on machines without a container engine: variables filled in
 * as compose does it, commands as argument lists, and what the image's file system is made of.
 *
 *   ${NAME}  ${NAME:-default}  ${NAME:?why it is needed}      the only forms the file may use; `$$` is a dollar
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

export const ROOT = join(import.meta.dirname, '..', '..')

const healthcheckSchema = z.strictObject({
  test: z.array(z.string()).min(2),
  interval: z.string(),
  timeout: z.string(),
  retries: z.number(),
})

const conditions = ['service_healthy', 'service_completed_successfully', 'service_started'] as const

/** Strict: a key this test does not know is a key nobody checked. */
const serviceSchema = z.strictObject({
  image: z.string(),
  build: z.string().optional(),
  init: z.boolean().optional(),
  restart: z.enum(['no', 'unless-stopped']),
  stop_grace_period: z.string().optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.union([z.string(), z.number()]).transform(String)).default({}),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.enum(conditions) })).default({}),
  healthcheck: healthcheckSchema.optional(),
})

const composeSchema = z.strictObject({
  name: z.string(),
  'x-millrace': z.unknown(),
  services: z.record(z.string(), serviceSchema),
  volumes: z.record(z.string(), z.null()),
})

export type ComposeService = z.infer<typeof serviceSchema>
export type ComposeFile = z.infer<typeof composeSchema>

export function readCompose(env: Readonly<Record<string, string | undefined>>): ComposeFile {
  const tree: unknown = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true })
  return composeSchema.parse(interpolate(tree, env))
}

function interpolate(value: unknown, env: Readonly<Record<string, string | undefined>>): unknown {
  if (typeof value === 'string') return interpolateText(value, env)
  if (Array.isArray(value)) return value.map((each) => interpolate(each, env))
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, interpolate(each, env)]))
}

const VARIABLE = /\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-?])([^}]*))?\}|(.?))/g

function interpolateText(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return text.replaceAll(VARIABLE, (whole, name?: string, how?: string, rest?: string) => {
    if (whole === '$$') return '$'
    if (name === undefined) throw new Error(`"${text}": a dollar sign that compose would not take`)
    const value = env[name]
    if (value !== undefined && value !== '') return value
    if (how === '-') return rest ?? ''
    throw new Error(`variable ${name} is not set: ${rest ?? 'no default'}`)
  })
}

export type Instruction = { readonly name: string; readonly text: string }

/** The instructions of each stage of the Dockerfile, in order. */
export function readDockerfile(): Instruction[][] {
  const stages: Instruction[][] = []
  const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').replaceAll(/\\\n/g, ' ')
  for (const line of text.split('\n')) {
    const match = /^([A-Z]+)\s+(.*)$/.exec(line.trim())
    if (!match) continue
    if (match[1] === 'FROM') stages.push([])
    stages.at(-1)?.push({ name: match[1], text: match[2] })
  }
  return stages
}

export type Copy = { readonly from: string | undefined; readonly sources: readonly string[]; readonly target: string }

export function copiesOf(stage: readonly Instruction[]): Copy[] {
  return stage
    .filter(({ name }) => name === 'COPY')
    .map(({ text }) => {
      const words = text.split(/\s+/)
      const from = words[0].startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined
      return { from, sources: words.slice(0, -1), target: words.at(-1) ?? '' }
    })
}

export function textOf(stage: readonly Instruction[], name: string): string {
  const found = stage.filter((each) => each.name === name)
  if (found.length !== 1) throw new Error(`expected one ${name} in the stage, found ${found.length}`)
  return found[0].text
}

export function listOf(stage: readonly Instruction[], name: string): string[] {
  return z.array(z.string()).parse(JSON.parse(textOf(stage, name)))
}
