/** A worker thread of ingest: messages in, answers out. What it does is in `worker-jobs.ts`; who starts it, in `worker-pool.ts`. */
import { enableCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import type { FromWorker, ToWorker, WorkerData } from './messages.ts'

enableCompileCache()
// After the cache is on, so that this code comes out of it as well.
const { createBlockDecoder } = await import('../decoder/block-decoder.ts')
const { createWorkerJobs } = await import('./worker-jobs.ts')

/** Answers to small jobs wait for each other; beyond this they are sent at once. */
const ANSWERS_BYTES = 64 * 1024

const port = parentPort!
const { arena, unpackedBytesMax } = workerData as WorkerData
const run = createWorkerJobs({ arena, unpackedBytesMax, createBlockDecoder })

let answers: FromWorker['answers'][number][] = []
let bytes = 0
let transfer: ArrayBuffer[] = []

function send(): void {
  if (answers.length === 0) return
  port.postMessage({ answers } satisfies FromWorker, transfer)
  answers = []
  bytes = 0
  transfer = []
}

port.on('message', (message: ToWorker) => {
  run(message, (answer) => {
    answers.push(answer)
    if (answer.kind === 'decoded') bytes += answer.result.kind === 'decoded' ? answer.result.bytes : ANSWERS_BYTES
    else if (answer.kind === 'sealed') {
      const { buffer, byteLength } = answer.result.bytes
      bytes += byteLength
      if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) transfer.push(buffer)
    }
    if (bytes >= ANSWERS_BYTES) send()
  })
  send()
})
