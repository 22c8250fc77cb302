/**
 * A load balancer as it stands in front of query processes: takes TCP connections, gives each to the next target in turn, and to the
 * one after when a target refuses. Bytes pass as they are, with back-pressure; when one side breaks, the other is broken too.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Balancer = {
  readonly url: string
  /** Connections that each target took, by its port. */
  readonly taken: ReadonlyMap<number, number>
  close(): Promise<void>
}

/** `ports` is asked for each connection. */
export async function startBalancer(ports: () => readonly number[]): Promise<Balancer> {
  const taken = new Map<number, number>()
  const open = new Set<Socket>()
  let turn = 0
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const targets = ports()
    const first = turn++ % targets.length
    hold(client)
    tryTarget(client, [...targets.slice(first), ...targets.slice(0, first)])
  })

  function tryTarget(client: Socket, targets: readonly number[]): void {
    const [port, ...others] = targets
    if (port === undefined) {
      client.destroy()
      return
    }
    const target = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const refused = () => tryTarget(client, others)
    target.once('error', refused)
    target.once('connect', () => {
      target.off('error', refused)
      hold(target)
      taken.set(port, (taken.get(port) ?? 0) + 1)
      for (const [from, to] of [
        [client, target],
        [target, client],
      ]) {
        from.on('error', () => to.resetAndDestroy())
        from.pipe(to)
      }
      client.resume()
    })
  }

  function hold(socket: Socket): void {
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken,
    async close() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
