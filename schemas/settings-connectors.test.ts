// Connectors in the settings file: any way of writing them is the same flat properties.
import { expect, test } from 'vitest'
import { connectorsLeaf } from './settings-connectors.ts'

test('dotted and nested keys, scalars and lists are texts; references stay', () => {
  const value = {
    orders: {
      topics: ['a', 'b'],
      'tasks.max': 2,
      value: { 'converter.schemas': { enable: false } },
      'consumer.override.sasl.jaas.config': `\${env:JAAS}`,
      transforms: 'x',
      'transforms.x.type': 'T',
    },
    empty: {},
  }
  expect(connectorsLeaf.parse(value)).toEqual({
    value: [
      {
        name: 'orders',
        properties: {
          topics: 'a,b',
          'tasks.max': '2',
          'value.converter.schemas.enable': 'false',
          'consumer.override.sasl.jaas.config': `\${env:JAAS}`,
          transforms: 'x',
          'transforms.x.type': 'T',
        },
      },
      { name: 'empty', properties: {} },
    ],
  })
})

test.each([
  ['text', [[]]],
  [{ a: 'text' }, [['a']]],
  [{ a: { b: [{ c: 1 }] } }, [['a', 'b']]],
  [{ a: { 'b.c': 1, b: { c: 2 } } }, [['a', 'b', 'c']]],
])('%j is refused where it is wrong', (value, places) => {
  const result = connectorsLeaf.parse(value)
  expect('issues' in result && result.issues.map(({ path }) => path)).toEqual(places)
})
