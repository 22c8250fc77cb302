/**
 * Numbers of a process for Prometheus, behind a few plain functions. Every name begins with `millrace_`; a counter ends
 * in `_total`, an amount in its unit. Each process has a registry of its own, so that tests do not meet.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type Labels = Readonly<Record<string, string>>

export type CounterMetric = { add(amount?: number, labels?: Labels): void }
export type GaugeMetric = { set(value: number, labels?: Labels): void; remove(labels: Labels): void }
export type HistogramMetric = { observe(value: number, labels?: Labels): void }

export type MetricOptions = {
  /** Without the prefix: `rows_total`. */
  readonly name: string
  readonly help: string
  readonly labels?: readonly string[]
}

export type Metrics = {
  counter(options: MetricOptions): CounterMetric
  gauge(options: MetricOptions): GaugeMetric
  /** Read when somebody asks. */
  gaugeOf(options: Omit<MetricOptions, 'labels'>, read: () => number): void
  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): HistogramMetric
  /** The page for Prometheus. */
  text(): Promise<string>
  readonly contentType: string
}

const PREFIX = 'millrace_'

/** Bounds for durations in seconds, from a millisecond to ten minutes. */
export const SECONDS_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600,
]

export function createMetrics(options: { readonly service: string }): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ service: options.service })
  collectDefaultMetrics({ register: registry })
  const common = ({ name, help, labels = [] }: MetricOptions) => ({
    name: PREFIX + name,
    help,
    labelNames: [...labels],
    registers: [registry],
  })
  return {
    counter(counterOptions) {
      const counter = new Counter(common(counterOptions))
      return { add: (amount = 1, labels = {}) => counter.inc(labels, amount) }
    },
    gauge(gaugeOptions) {
      const gauge = new Gauge(common(gaugeOptions))
      return { set: (value, labels = {}) => gauge.set(labels, value), remove: (labels) => gauge.remove(labels) }
    },
    gaugeOf(gaugeOptions, read) {
      new Gauge({
        ...common(gaugeOptions),
        collect() {
          this.set(read())
        },
      })
    },
    histogram(histogramOptions) {
      const histogram = new Histogram({ ...common(histogramOptions), buckets: [...histogramOptions.buckets] })
      return { observe: (value, labels = {}) => histogram.observe(labels, value) }
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
