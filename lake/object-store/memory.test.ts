import { createTestWorld } from '../../runtime/test-world.ts'
import { describeObjectStore } from './conformance.ts'
import { createMemoryObjectStore } from './memory.ts'

const options = { manyKeys: 1_203, largeFileBytes: 5_000_000 }

describeObjectStore(
  'memory',
  async () => {
    const store = createMemoryObjectStore({ root: 's3://bucket/lake', world: createTestWorld() })
    // One map is one set of bytes: every opener gets it, and closing one racer does not empty it.
    return { open: () => ({ ...store, close: async () => {} }) }
  },
  options,
)
