import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { LibraryError } from '#base/errors.ts'
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelsOf,
  METRICS,
  type MetricName,
} from './definitions.ts'

/** What this process counts, as Prometheus reads it. */
export interface Metrics {
  add<N extends CounterName>(name: N, labels: LabelsOf<N>, by?: number): void
  set<N extends GaugeName>(name: N, labels: LabelsOf<N>, value: number): void
  /** @param by may be negative */
  shift<N extends GaugeName>(name: N, labels: LabelsOf<N>, by: number): void
  /** @param seconds of a histogram of times */
  observe<N extends HistogramName>(name: N, labels: LabelsOf<N>, seconds: number): void
  /** Forgets all values of some metrics, which are absent until they are set again. */
  forget(...names: readonly MetricName[]): void
  /** Has `look` set what is only known when somebody asks. Where it fails, what it says is left out. */
  beforeScrape(look: Look): void
  /** @returns the text format of Prometheus 0.0.4 */
  scrape(): Promise<string>
  readonly contentType: string
}

export interface Look {
  /** A label: lower case, one word. */
  readonly name: string
  /** What it sets. */
  readonly metrics: readonly MetricName[]
  readonly look: () => Promise<void> | void
}

/** How long a scrape waits for a catalog or a disk that does not answer. */
const LOOK_MS = 3000

/** The default metrics whose names break Prometheus's rules: gauges that end in `_total`. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

export interface MetricsOptions {
  readonly version: string
  /** Told of a look that failed. */
  readonly onFailure: (error: unknown, look: string) => void
  /** For tests. */
  readonly lookMs?: number
}

export function createMetrics({ version, onFailure, lookMs = LOOK_MS }: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  const { counters, gauges, histograms } = registerAll(registry)
  const looks: Look[] = []
  const forget = (names: readonly MetricName[]) => {
    for (const name of names) {
      const metric = counters.get(name) ?? gauges.get(name)
      metric?.reset()
      // One without labels is 0 then, which is as wrong as anything.
      if (METRICS[name].labels.length === 0) metric?.remove({})
    }
  }
  const metrics: Metrics = {
    add: (name, labels, by = 1) => counters.get(name)?.inc(labels, by),
    set: (name, labels, value) => gauges.get(name)?.set(labels, value),
    shift: (name, labels, by) => gauges.get(name)?.inc(labels, by),
    observe: (name, labels, seconds) => histograms.get(name)?.observe(labels, seconds),
    forget: (...names) => forget(names),
    beforeScrape: (look) => void looks.push(look),
    contentType: registry.contentType,
    scrape: () => scraping(),
  }
  async function takeLook({ name, look, metrics: sets }: Look): Promise<void> {
    try {
      await withinMs(lookMs, Promise.resolve().then(look))
    } catch (error) {
      forget(sets)
      metrics.add('image_library_scrape_failures_total', { look: name })
      onFailure(error, name)
    }
  }
  // Whoever asks while somebody else waits for the same looks gets what he gets.
  const scraping = shared(async () => {
    await Promise.all(looks.map(takeLook))
    return registry.metrics()
  })
  metrics.set('image_library_info', { version }, 1)
  return metrics
}

function registerAll(registry: Registry) {
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  const histograms = new Map<string, Histogram>()
  for (const [name, definition] of Object.entries(METRICS)) {
    const { type, help, labels } = definition
    const options = { name, help, labelNames: [...labels], registers: [registry] }
    if (type === 'counter') counters.set(name, new Counter(options))
    else if (type === 'gauge') gauges.set(name, new Gauge(options))
    else histograms.set(name, new Histogram({ ...options, buckets: [...definition.buckets] }))
  }
  return { counters, gauges, histograms }
}

/** Those who call while one call goes on share its result. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let going: Promise<T> | undefined
  return () => {
    going ??= work().finally(() => {
      going = undefined
    })
    return going
  }
}

async function withinMs(ms: number, work: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new LibraryError('unavailable', `no answer within ${ms} ms`)), ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
