import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type SchemaRegistry, startSchemaRegistry } from '../../test/harness/schema-registry.ts'
import { createUntilAvailable } from '../until-available.ts'
import { createSchemaRegistryClient, type SchemaRegistryClient } from './registry-client.ts'
import { registrySettings } from './registry-settings.ts'

const ADDRESS = JSON.stringify({
  type: 'record',
  name: 'Address',
  namespace: 'shop',
  fields: [{ name: 'city', type: 'string' }],
})
const CUSTOMER = JSON.stringify({
  type: 'record',
  name: 'Customer',
  namespace: 'shop',
  fields: [{ name: 'home', type: 'shop.Address' }],
})
const ORDER = JSON.stringify({
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields: [
    { name: 'customer', type: 'shop.Customer' },
    { name: 'to', type: 'shop.Address' },
  ],
})
const MONEY = 'syntax = "proto3";\npackage shop;\n\nmessage Money {\n  int64 cents = 1;\n}\n'
const PAYMENT =
  'syntax = "proto3";\npackage shop;\n\nimport "money.proto";\n\nmessage Payment {\n  shop.Money amount = 1;\n}\n'

let registry: SchemaRegistry
let orderId: number
let paymentId: number
beforeAll(async () => {
  registry = await startSchemaRegistry()
  await registry.register('address', { schema: ADDRESS })
  const address = { name: 'shop.Address', subject: 'address', version: 1 }
  await registry.register('customer', { schema: CUSTOMER, references: [address] })
  const customer = { name: 'shop.Customer', subject: 'customer', version: 1 }
  orderId = await registry.register('orders-value', { schema: ORDER, references: [customer, address] })
  await registry.register('money', { schemaType: 'PROTOBUF', schema: MONEY })
  paymentId = await registry.register('payments-value', {
    schemaType: 'PROTOBUF',
    schema: PAYMENT,
    references: [{ name: 'money.proto', subject: 'money', version: 1 }],
  })
})
afterAll(() => registry?.[Symbol.asyncDispose]())

function client(settings: Record<string, string> = {}): SchemaRegistryClient {
  return createSchemaRegistryClient({
    settings: registrySettings({ 'schema.registry.url': registry.url, ...settings }, () => ''),
    world: createTestWorld({ sleepAdvances: true }),
  })
}

describe('a real schema registry', () => {
  it('gives a schema with all it refers to, what is referred to first', async () => {
    const registryClient = client()
    const order = await registryClient.schema(orderId)
    expect(order).toMatchObject({ kind: 'schema' })
    if (order.kind !== 'schema') return
    expect(order.schema.type).toBe('AVRO')
    expect(order.schema.label).toBe(`orders-value version 1 (id ${orderId})`)
    expect(JSON.parse(order.schema.text)).toEqual(JSON.parse(ORDER))
    expect(order.schema.references.map(({ name }) => name)).toEqual(['shop.Address', 'shop.Customer'])
    expect(JSON.parse(order.schema.references[0].text)).toEqual(JSON.parse(ADDRESS))
    const payment = await registryClient.schema(paymentId)
    expect(payment).toMatchObject({
      kind: 'schema',
      schema: {
        type: 'PROTOBUF',
        references: [{ name: 'money.proto' }],
        label: `payments-value version 1 (id ${paymentId})`,
      },
    })
    await registryClient.close()
  })

  it('refuses an id that it does not know', async () => {
    const registryClient = client()
    expect(await registryClient.schema(4711)).toEqual({
      kind: 'refused',
      reason: 'schema id 4711 is not in the schema registry',
    })
    await registryClient.close()
  })

  it('asks the next address when one is away', async () => {
    const registryClient = client({ 'schema.registry.url': `http://127.0.0.1:1,${registry.url}` })
    expect(await registryClient.schema(orderId)).toMatchObject({ kind: 'schema' })
    await registryClient.close()
  })

  it('is away while it is killed or frozen, and goes on by itself afterwards; what is known needs no registry', async () => {
    const registryClient = client({ 'schema.registry.request.timeout.ms': '500' })
    expect(await registryClient.schema(orderId)).toMatchObject({ kind: 'schema' })
    await registry.kill9()
    expect(await registryClient.schema(orderId)).toMatchObject({ kind: 'schema' })
    await expect(registryClient.schema(paymentId)).rejects.toMatchObject({
      code: 'registry-unavailable',
      kind: 'unavailable',
      message: expect.stringContaining(registry.url),
    })
    const troubles: (string | undefined)[] = []
    const told = Promise.withResolvers<void>()
    const world = createTestWorld({ sleepAdvances: true })
    const untilAvailable = createUntilAvailable({
      world,
      onTrouble(reason) {
        troubles.push(reason)
        told.resolve()
      },
    })
    const waiting = untilAvailable('schema of payments', () => registryClient.schema(paymentId))
    await told.promise
    await registry.restart()
    expect(await waiting).toMatchObject({ kind: 'schema', schema: { type: 'PROTOBUF' } })
    expect(troubles[0]).toContain('schema of payments: schema registry http')
    expect(troubles.at(-1)).toBe(undefined)
    await registryClient.close()

    const other = client({ 'schema.registry.request.timeout.ms': '300' })
    registry.pause()
    await expect(other.schema(orderId)).rejects.toMatchObject({
      code: 'registry-unavailable',
      message: `schema registry ${registry.url}: no answer in time`,
    })
    registry.resume()
    expect(await other.schema(orderId)).toMatchObject({ kind: 'schema' })
    await other.close()
  })
})
