import assert from 'node:assert/strict'

/** A page of metrics as Prometheus reads it, and as strictly as it may be. */
export interface Exposition {
  /** Of one sample: `name`, or `name{a="b",c="d"}` with labels in the order of their names; undefined where absent. */
  value(sample: string): number | undefined
  /** The sum of all samples of a name, whatever their labels. */
  sum(name: string): number
  /** Families by name, with their types. */
  readonly types: ReadonlyMap<string, string>
  /** Names and values of labels that occur. */
  readonly labels: readonly (readonly [name: string, value: string])[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (-?\\d[\\d.e+-]*|\\+Inf|-Inf|[nN]a[nN])$`)
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y

/** Reads the text format 0.0.4. @throws AssertionError where it is not that, or breaks a rule of names or histograms */
export function parseExposition(text: string): Exposition {
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const types = new Map<string, string>()
  const helped = new Set<string>()
  const samples = new Map<string, number>()
  const labels: [string, string][] = []
  let family = ''
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const [, help] = /^# HELP (\S+) \S.*$/.exec(line) ?? []
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (help !== undefined) {
      assert.ok(!helped.has(help), `${help} is described twice`)
      helped.add(help)
    } else if (typed !== undefined && type !== undefined) {
      assert.ok(!types.has(typed) && helped.has(typed), `${typed} has a description, and one type`)
      assert.equal(typed.endsWith('_total'), type === 'counter', `${typed} is a ${type}`)
      types.set(typed, type)
      family = typed
    } else {
      const [, name = '', list = '', value = ''] = SAMPLE.exec(line) ?? assert.fail(`no sample: ${line}`)
      const suffixes = types.get(family) === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      assert.ok(
        suffixes.some((suffix) => name === family + suffix),
        `${name} stands below ${family}`,
      )
      const pairs = parseLabels(list)
      labels.push(...pairs)
      const key = keyOf(name, pairs)
      assert.ok(!samples.has(key), `${key} stands there twice`)
      samples.set(key, value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value))
    }
  }
  checkHistograms(types, samples)
  return {
    types,
    labels,
    value: (sample) => samples.get(sample),
    sum: (name) =>
      [...samples].reduce((sum, [key, value]) => (key.replace(/\{.*/s, '') === name ? sum + value : sum), 0),
  }
}

const keyOf = (name: string, pairs: readonly (readonly [string, string])[]): string =>
  pairs.length === 0
    ? name
    : `${name}{${pairs
        .map(([label, value]) => `${label}="${value}"`)
        .sort()
        .join()}}`

function parseLabels(list: string): [string, string][] {
  const pairs: [string, string][] = []
  LABEL.lastIndex = 0
  for (let at = 0; at < list.length; at = LABEL.lastIndex) {
    const [, name = '', value = ''] = LABEL.exec(list) ?? assert.fail(`no labels: ${list}`)
    pairs.push([name, value])
  }
  assert.equal(new Set(pairs.map(([name]) => name)).size, pairs.length, `a label twice: ${list}`)
  return pairs
}

/** Buckets hold what those before them do, and the last one all. */
function checkHistograms(types: ReadonlyMap<string, string>, samples: ReadonlyMap<string, number>): void {
  const last = new Map<string, { bound: number; count: number }>()
  for (const [key, count] of samples) {
    const [, name = '', labels = ''] = /^(.*)_bucket\{(.*)\}$/s.exec(key) ?? []
    if (types.get(name) !== 'histogram') continue
    const [, bound = ''] = /le="([^"]*)"/.exec(labels) ?? []
    const others = labels.replace(/(?:^|,)le="[^"]*"/, '').replace(/^,/, '')
    const series = others === '' ? name : `${name}{${others}}`
    const before = last.get(series) ?? { bound: Number.NEGATIVE_INFINITY, count: 0 }
    const upper = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound)
    assert.ok(upper > before.bound && count >= before.count, key)
    last.set(series, { bound: upper, count })
  }
  for (const [series, { bound, count }] of last) {
    assert.equal(bound, Number.POSITIVE_INFINITY, series)
    const [, name, labels = ''] = /^([^{]*)(\{.*\})?$/s.exec(series) ?? []
    assert.equal(samples.get(`${name}_count${labels}`), count, series)
  }
}
