import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../src/daemon/config.ts'
import { METRICS } from '../src/daemon/metrics/definitions.ts'
import { createMetrics } from '../src/daemon/metrics/metrics.ts'
import { parseExposition } from './support/exposition.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFile(join(root, path), 'utf8')

interface Panel {
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
}

/** What Prometheus adds to every sample, or finds by itself. */
const ADDED_LABELS = ['job', 'instance', 'le']
const ADDED_METRICS = ['up']

/** Names of everything that can be asked for, of samples, not of families. */
async function sampleNames(): Promise<Set<string>> {
  const page = parseExposition(await createMetrics({ version: '0', onFailure: () => {} }).scrape())
  const names = [...page.types].flatMap(([name, type]) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name],
  )
  return new Set([...names, ...ADDED_METRICS])
}

const METRIC = /\b(?:image_library|process|nodejs)_[a-z0-9_]+|\bup\b/g

/** Checks that a query names only metrics that there are, each only with its own labels. */
function assertAsks(expr: string, names: ReadonlySet<string>): void {
  const asked = expr.match(METRIC) ?? []
  assert.ok(asked.length > 0, expr)
  for (const name of asked) assert.ok(names.has(name), `${name} in ${expr}`)
  const labels = new Set<string>(ADDED_LABELS)
  for (const [name, definition] of Object.entries(METRICS))
    if (asked.some((sample) => sample.startsWith(name)))
      for (const label of definition.labels) labels.add(label)
  const used = [
    ...[...expr.matchAll(/([a-z]+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = '']) => label),
    ...[...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/)),
  ]
  for (const label of used) assert.ok(labels.has(label), `${label} in ${expr}`)
}

test('dashboard: every query names only metrics and labels that there are', async () => {
  const { panels } = JSON.parse(await read('deploy/grafana/image-library.json')) as { panels: Panel[] }
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  assert.ok(queries.length > 30)
  const names = await sampleNames()
  for (const expr of queries) assertAsks(expr, names)
})

test('alerts: every rule names only metrics and labels that there are, and the guide says what to do', async () => {
  const rules = [...(await read('deploy/prometheus/alerts.yml')).matchAll(/- alert: (\w+)\n\s+expr: (.*)\n/g)]
  assert.ok(rules.length > 10)
  const names = await sampleNames()
  const guide = await read('docs/guides/operations.md')
  const listed = [...guide.matchAll(/^\| `(ImageLibrary\w+)` \| .+ \| .+ \|$/gm)].map(([, name]) => name)
  assert.deepEqual(
    rules.map(([, name]) => name),
    listed,
  )
  for (const [, , expr = ''] of rules) assertAsks(expr, names)
})

test('a query for what is not there is noticed', async () => {
  const names = await sampleNames()
  for (const expr of [
    'rate(image_library_nothing_total[5m])',
    'image_library_store_operation_seconds',
    'sum by (edge) (image_library_ready)',
    'image_library_ready{image="x"}',
  ])
    assert.throws(() => assertAsks(expr, names), assert.AssertionError, expr)
})

test('guide: its table of metrics is the one of the definitions', async () => {
  const guide = await read('docs/guides/operations.md')
  const rows = [...guide.matchAll(/^\| `(image_library_\w+)` \| (\w+) \| (.*?) \| (.*) \|$/gm)]
  const defined = Object.entries(METRICS).map(([name, { type, labels, help }]) => [
    name,
    type,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ])
  assert.deepEqual(
    rows.map((row) => row.slice(1)),
    defined,
  )
})

test('guide: its settings of one process of the large shape are read', async () => {
  const [, text = ''] = /```ini\n(.*?)```/s.exec(await read('docs/guides/operations.md')) ?? []
  const folder = await mkdtemp(join(tmpdir(), 'deploy-'))
  try {
    const config = join(folder, 'api.ini')
    await writeFile(config, text)
    const { roles, metrics, http } = readConfig({ config })
    assert.deepEqual([...roles], ['api'])
    assert.deepEqual([metrics?.port, http.noticeMs], [9464, 5000])
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('compose: its settings are read, and its processes have every role that needs no machine', async () => {
  const config = join(root, 'deploy/compose/library.ini')
  const compose = await read('deploy/compose/compose.yaml')
  const commands = [...compose.matchAll(/command: \[serve, --config, \/library\.ini, --roles, (\w+)/g)]
  const roles = commands.map(([, role = '']) => role)
  assert.deepEqual(roles.toSorted(), ['api', 'orbit', 'sftp', 'worker'])
  for (const role of roles) {
    const { http, metrics, catalog, store } = readConfig({ config, roles: role })
    assert.deepEqual(metrics, { host: '0.0.0.0', port: 9464 })
    assert.ok(http.noticeMs > 0 && http.noticeMs + http.drainMs < 60_000, 'less than stop_grace_period')
    assert.ok(catalog !== undefined && store !== undefined)
  }
})

test('units: they start what there is, and end it later than it takes to stop', async () => {
  for (const name of ['image-library.service', 'image-library@.service']) {
    const unit = await read(`deploy/systemd/${name}`)
    assert.match(unit, /^ExecStart=\/opt\/image-library\/bin\/image-library serve --config \/etc\/\S+\.ini$/m)
    const [, seconds = 0] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? []
    const { http } = readConfig()
    assert.ok(Number(seconds) * 1000 > http.noticeMs + http.drainMs)
    for (const hardening of [
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'CapabilityBoundingSet=',
      'UMask=0077',
    ])
      assert.ok(unit.split('\n').includes(hardening), `${name}: ${hardening}`)
  }
})
