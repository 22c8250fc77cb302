/** Connectors of the settings, as they are put into the catalog. `connector.class` may be left out there. */

import type { SettingsFinding } from '../../../schemas/settings-check.ts'
import type { DeclaredConnector } from '../../../schemas/settings-connectors.ts'
import { checkTransforms } from '../transforms/check-transforms.ts'
import { checkConnector } from './check-connector.ts'

export function wholeProperties({ name, properties }: DeclaredConnector): Readonly<Record<string, string>> {
  return { 'connector.class': 'Millrace', ...properties, name }
}

/** What is wrong with them, each under its property. */
export function checkDeclared(
  connectors: readonly DeclaredConnector[],
  pipelines: readonly { readonly name: string }[],
): readonly SettingsFinding[] {
  const taken = new Set(pipelines.map(({ name }) => name))
  return connectors.flatMap((connector) => {
    const path = `connectors.${connector.name}`
    const found = checkConnector(wholeProperties(connector), checkTransforms).errors.map(
      ({ name, message }): SettingsFinding => ({ path: `${path}.${name}`, expected: message, found: 'this' }),
    )
    if (!taken.has(connector.name)) return found
    return [...found, { path, expected: 'a name that no pipeline has', found: `pipelines.${connector.name}` }]
  })
}
