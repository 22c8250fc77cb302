import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSlowProxy } from './slow-proxy.ts'

let echo: Server
let target: { port: number }
let received = ''
beforeAll(async () => {
  echo = createServer((socket) => {
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      socket.write(chunk)
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  target = { port: (echo.address() as AddressInfo).port }
})
afterAll(() => new Promise((resolve) => echo.close(resolve)))

/** Sends and reads until as much came back or the connection ended. */
function exchange(port: number, text: string): Promise<{ text: string; ended: boolean }> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(text))
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (answer.length < text.length) return
      socket.destroy()
      resolve({ text: answer, ended: false })
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve({ text: answer, ended: true }))
  })
}

describe('slow proxy', () => {
  test('passes bytes unchanged and in order, delayed or not', async () => {
    const proxy = await startSlowProxy(target)
    const text = 'x'.repeat(300_000) + 'y'.repeat(300_000)
    expect((await exchange(proxy.port, text)).text === text).toBe(true)
    proxy.set({ requestDelayMs: 5, responseDelayMs: 5 })
    expect((await exchange(proxy.port, text)).text === text).toBe(true)
    expect(proxy.counts).toEqual({ connections: 2, requestBytes: 1_200_000, answerBytes: 1_200_000 })
    await proxy.close()
  })

  test('a delay of its own for each request: asked once, however many pieces it comes in', async () => {
    let asked = 0
    const requestDelayMs = () => {
      asked += 1
      return 1
    }
    // Answers wait, so that all pieces of a request pass before the first one comes back.
    const proxy = await startSlowProxy(target, { requestDelayMs, responseDelayMs: 200 })
    const socket = connect({ port: proxy.port, host: '127.0.0.1' })
    const answered = async (bytes: number) => {
      while (proxy.counts.answerBytes < bytes) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    socket.write('one')
    while (proxy.counts.requestBytes < 3) await new Promise((resolve) => setImmediate(resolve))
    proxy.set({ requestDelayMs, holdRequests: true })
    socket.write('two')
    while (proxy.counts.requestBytes < 6) await new Promise((resolve) => setImmediate(resolve))
    expect(asked).toBe(1)
    proxy.set({ requestDelayMs })
    await answered(6)
    socket.write('three')
    await answered(11)
    expect(asked).toBe(2)
    socket.destroy()
    await proxy.close()
  })

  test('cuts an answer after some bytes, once', async () => {
    const proxy = await startSlowProxy(target)
    proxy.cutAfterAnswerBytes(4)
    expect((await exchange(proxy.port, '0123456789')).ended).toBe(true)
    expect(await exchange(proxy.port, '0123456789')).toEqual({ text: '0123456789', ended: false })
    await proxy.close()
  })

  test('holds requests back until told otherwise', async () => {
    const proxy = await startSlowProxy(target, { holdRequests: true })
    received = ''
    const exchanged = exchange(proxy.port, 'a question')
    while (proxy.counts.requestBytes === 0) await new Promise((resolve) => setImmediate(resolve))
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(received).toBe('')
    proxy.set({})
    expect(await exchanged).toEqual({ text: 'a question', ended: false })
    await proxy.close()
  })

  test('swallows answers of requests that arrive', async () => {
    const proxy = await startSlowProxy(target, { swallowAnswers: true })
    received = ''
    const exchanged = exchange(proxy.port, 'a write')
    while (received !== 'a write') await new Promise((resolve) => setImmediate(resolve))
    expect(proxy.cutConnections()).toBe(1)
    expect(await exchanged).toEqual({ text: '', ended: true })
    await proxy.close()
  })

  test('refuses connections and takes them again', async () => {
    const proxy = await startSlowProxy(target, { refuse: true })
    expect(await exchange(proxy.port, 'x')).toEqual({ text: '', ended: true })
    proxy.set({})
    expect((await exchange(proxy.port, 'x')).text).toBe('x')
    await proxy.close()
  })
})
