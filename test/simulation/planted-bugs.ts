/**
 * Bugs that a tired engineer might write, planted from outside.
 */
import type { PlantedBug } from './lake.ts'

export const PLANTED_BUGS: readonly PlantedBug[] = []
