/**
 * Ports of 127.0.0.1 that nobody listens on. They are taken from below the range the kernel gives to outgoing
 * connections, so that between our look and the server's bind no client socket of the machine can slip in; each
 * process starts looking at another place, and never gives the same port twice.
 */
import { createServer } from 'node:net'

const FIRST_PORT = 20_000
const PORT_COUNT = 12_000
const PROCESS_STRIDE = 7_919

let nextIndex = (process.pid * PROCESS_STRIDE) % PORT_COUNT

export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PORT_COUNT; tried++) {
    const port = FIRST_PORT + nextIndex
    nextIndex = (nextIndex + 1) % PORT_COUNT
    if (await canListen(port)) return port
  }
  throw new Error(`no free port between ${FIRST_PORT} and ${FIRST_PORT + PORT_COUNT - 1} on 127.0.0.1`)
}

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await freePort())
  return ports
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
