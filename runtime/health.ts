/**
 * How a process is, told component by component. A component that never reported counts as healthy; the process is as
 * well as its worst component. Degraded means: it works, slower or with less, and the reason says why.
 */
export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy'

export type HealthReason = {
  readonly component: string
  readonly status: HealthStatus
  readonly reason: string
}

export type HealthReport = { readonly status: HealthStatus; readonly reasons: readonly HealthReason[] }

export type ComponentHealth = {
  healthy(): void
  degraded(reason: string): void
  unhealthy(reason: string): void
}

export type Health = {
  /** The same name gives the same component. */
  component(name: string): ComponentHealth
  /** Forget a component that no longer exists. */
  remove(name: string): void
  /** Reasons of everything that is not healthy, the worst first. */
  report(): HealthReport
}

const RANK: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

export function createHealth(): Health {
  const states = new Map<string, HealthReason>()
  return {
    component(name) {
      const set = (status: HealthStatus, reason: string) => void states.set(name, { component: name, status, reason })
      return {
        healthy: () => void states.delete(name),
        degraded: (reason) => set('degraded', reason),
        unhealthy: (reason) => set('unhealthy', reason),
      }
    },
    remove: (name) => void states.delete(name),
    report() {
      const reasons = [...states.values()].sort((a, b) => RANK[b.status] - RANK[a.status])
      return { status: reasons[0]?.status ?? 'healthy', reasons }
    },
  }
}
