/** A checked configuration and the list of definitions, in the shapes of Kafka Connect's REST API. Pure. */
import type { CheckedConnector } from '../config/check-connector.ts'
import type { ConfigDefinition, ConfigValue } from '../config/config-value.ts'
import { CONVERTER_CLASSES } from '../config/converters.ts'
import { CONNECTOR_CLASS, DEFINITIONS, GROUPS } from '../config/definitions.ts'

export function validationView(checked: CheckedConnector) {
  const { transforms, values } = checked
  const groups = [...GROUPS, ...transforms.groups]
  const others = values.map(({ definition }) => definition.group).filter((group) => !groups.includes(group as never))
  return {
    name: CONNECTOR_CLASS,
    error_count: checked.errors.length,
    groups: [...groups, ...new Set(others)],
    configs: [
      ...values.map((value, index) => ({
        definition: definitionView(value.definition, index + 1),
        value: valueView(value),
      })),
      ...transforms.configs.map(({ definition: { order, ...definition }, value }) => ({
        definition: { ...definition, order_in_group: definition.order_in_group ?? order },
        value: { ...value, errors: [...value.errors, ...problemsOf(checked, value.name)] },
      })),
    ],
    warnings: checked.warnings,
  }
}

/** Found together with others, where each alone was sound. */
function problemsOf({ transforms }: CheckedConnector, name: string): readonly string[] {
  return transforms.problems.filter((each) => each.name === name).map(({ message }) => message)
}

export function definitionsView() {
  return DEFINITIONS.map((definition, index) => definitionView(definition, index + 1))
}

export function definitionView(definition: ConfigDefinition, order: number) {
  return {
    name: definition.name,
    type: definition.type,
    required: definition.required ?? false,
    default_value: definition.fallback ?? null,
    importance: definition.importance,
    documentation: definition.documentation,
    group: definition.group,
    order_in_group: order,
    width: definition.type === 'STRING' || definition.type === 'LIST' ? 'MEDIUM' : 'SHORT',
    display_name: definition.displayName,
    dependents: [],
  }
}

function valueView({ definition, value, errors }: ConfigValue) {
  const isConverter = definition.name === 'key.converter' || definition.name === 'value.converter'
  return {
    name: definition.name,
    value,
    recommended_values: definition.allowed ?? (isConverter ? CONVERTER_CLASSES : []),
    errors,
    visible: true,
  }
}

/** All errors as one message, in the words that people know. */
export function errorsMessage({ errors }: CheckedConnector): string {
  const messages = errors.map(({ message }) => message).join('\n')
  return `Connector configuration is invalid and contains the following ${errors.length} error(s):\n${messages}\nYou can also find the above list of errors at the endpoint \`/connector-plugins/{connectorType}/config/validate\``
}
