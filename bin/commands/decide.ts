/**
 * `millrace decide`: a topic-partition stands still because its log contradicts the coverage (recreated topic,
 * truncation, retention gone past); this says where to go on. Never done by itself: rows may be missing.
 */
import type { Command } from 'commander'
import { MillraceError } from '../../schemas/errors.ts'
import { postJson, serviceTarget } from './service-target.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type DecideOptions = SettingsOptions & {
  readonly pipeline: string
  readonly topic: string
  readonly partition: string
  readonly from: string
  readonly url?: string
  readonly token?: string
}

export function addDecideCommand(program: Command): void {
  withSettings(
    program
      .command('decide')
      .description('Say where a topic-partition goes on whose log contradicts what was consumed.'),
  )
    .requiredOption('--pipeline <name>', 'the pipeline')
    .requiredOption('--topic <name>', 'the topic')
    .requiredOption('--partition <number>', 'the topic-partition')
    .requiredOption('--from <where>', 'earliest, latest, or an offset')
    .option('--url <url>', 'ingest service (default: listen.ingest of the settings)')
    .option('--token <token>', 'bearer token with the right admin (default: MILLRACE_TOKEN)')
    .addHelpText(
      'after',
      '\nExample:\n  millrace decide --pipeline flights --topic flights --partition 0 --from earliest',
    )
    .action(run)
}

async function run(options: DecideOptions): Promise<void> {
  const target = await serviceTarget('ingest', options.url, () => settingsOf(options).settings)
  const token = options.token ?? process.env.MILLRACE_TOKEN
  const path = `/v1/pipelines/${encodeURIComponent(options.pipeline)}/decide`
  const decision = { topic: options.topic, partition: Number(options.partition), from: options.from }
  const { statusCode, body } = await postJson('ingest', target, path, token, decision)
  const answer = (await body.json()) as { error?: { message: string }; source?: string; next_offset?: string }
  if (statusCode !== 200) throw new MillraceError('request-invalid', answer.error?.message ?? `status ${statusCode}`)
  process.stdout.write(`${options.topic}/${options.partition} goes on at ${answer.next_offset} as ${answer.source}\n`)
}
