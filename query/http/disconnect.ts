/**
 * Tells when a client's connection is gone, also for requests that wait behind others on it (pipelined): their replies have no
 * socket yet and would never hear of it. A client that only closes its sending half counts as gone, too: Node then closes the
 * other half. One listener a connection, however many requests it carries.
 */
import type { Socket } from 'node:net'

const listening = new WeakMap<Socket, Set<() => void>>()

/** Gives back what stops the listening. */
export function onDisconnect(socket: Socket, act: () => void): () => void {
  if (socket.destroyed) {
    act()
    return () => {}
  }
  let all = listening.get(socket)
  if (all === undefined) {
    const made = new Set<() => void>()
    all = made
    listening.set(socket, made)
    socket.once('close', () => {
      for (const each of [...made]) each()
    })
  }
  const own = all
  own.add(act)
  return () => void own.delete(act)
}
