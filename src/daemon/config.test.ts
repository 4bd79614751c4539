import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { readConfig } from './config.ts'
import { SETTINGS } from './settings.ts'
import { parseSettings } from './settings-file.ts'
import { parseDuration, parseSize, printDuration, printSize } from './units.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-'))
after(() => rmSync(folder, { recursive: true }))

function withFile(text: string): string {
  const path = join(folder, 'settings.ini')
  writeFileSync(path, text)
  return path
}

test('config: the defaults are those of the limits, and a disk folder beside us', () => {
  const config = readConfig()
  assert.deepEqual(config.limits, DEFAULT_LIMITS)
  assert.equal(config.data, join(process.cwd(), 'data'))
  assert.deepEqual([config.http.host, config.http.port, config.quota], ['127.0.0.1', 8080, undefined])
  assert.ok(Object.isFrozen(config))
})

test('config: the file wins over defaults, and flags over the file', () => {
  const config = withFile(
    '# ours\ndata = lib\n[http]\nlisten = [::1]:99\npublic_url = https://images.example.org\n' +
      '[limits]\nvirtual_size = 3 GiB\nsilence_time=90s\n[accounts]\n; per account\nquota = 1 TiB\n',
  )
  const file = readConfig({ config })
  assert.equal(file.data, join(folder, 'lib'))
  assert.deepEqual(
    [file.http.host, file.http.port, file.http.publicUrl],
    ['::1', 99, 'https://images.example.org'],
  )
  assert.deepEqual([file.limits.virtualSize, file.limits.silenceMs], [3 * 1024 ** 3, 90_000])
  assert.equal(file.quota, 1024 ** 4)
  const flags = readConfig({
    config,
    data: '/elsewhere',
    http: '0.0.0.0:0',
    allowSource: ['10.0.0.0/8', 'fd00::/8'],
  })
  assert.deepEqual([flags.data, flags.http.host, flags.http.port], ['/elsewhere', '0.0.0.0', 0])
  assert.deepEqual(flags.allowSource, ['10.0.0.0/8', 'fd00::/8'])
  assert.equal(flags.effective.find(({ key }) => key === 'data')?.from, 'flag')
})

test('config: what is wrong is named with its place, its setting and its rule', () => {
  const cases = [
    ['limit = 3', /settings\.ini:1: there is no setting limit$/],
    ['[limits]\nvirtual_sise = 3', /settings\.ini:2: there is no setting limits\.virtual_sise$/],
    ['[limits]\nvirtual_size = 3', /settings\.ini:2: limits\.virtual_size must be a size from/],
    ['[limits]\nvirtual_size = lots', /limits\.virtual_size must be/],
    ['[limits]\nsilence_time = 60', /limits\.silence_time must be a time/],
    ['[limits]\nredirects = -1', /limits\.redirects must be an integer from 0 to 20/],
    ['[http]\nlisten = 8080', /http\.listen must be ADDRESS:PORT/],
    ['[http]\nlisten = 127.0.0.1:70000', /http\.listen must be/],
    ['[http]\npublic_url = https://h/path', /http\.public_url must be empty or scheme and host/],
    ['[source]\nallow = 10.0.0.0/33', /source\.allow must be/],
    ['[log]\nlevel = loud', /log\.level must be one of/],
    ['data = a\ndata = b', /settings\.ini:2: data is set twice, first at .*:1$/],
    ['nonsense', /settings\.ini:1: this is neither/],
    ['[limits', /settings\.ini:1: this is neither/],
  ] as const
  for (const [text, message] of cases) {
    assert.throws(
      () => readConfig({ config: withFile(text) }),
      (error) => error instanceof LibraryError && error.code === 'invalid' && message.test(error.message),
      text,
    )
  }
  assert.throws(() => readConfig({ http: 'x' }), /--http: http\.listen must be/)
  assert.throws(() => readConfig({ config: join(folder, 'none') }), { code: 'not_found' })
})

test('config: what servers run by and how they reach the network', () => {
  const config = withFile(
    '[servers]\naccelerator = kvm\nnetwork = bridge:br0\nssh_ports = 3000-3001\nper_account = 0\n' +
      '[nbd]\nlisten = 0.0.0.0:10809\ncertificate = c\nkey = /k\n',
  )
  const { servers, nbd } = readConfig({ config, accelerator: 'tcg' })
  assert.equal(servers.accelerator, 'tcg')
  assert.deepEqual(servers.network, { kind: 'bridge', bridge: 'br0' })
  assert.deepEqual(servers.sshPorts, { first: 3000, last: 3001 })
  assert.deepEqual(servers.perAccount, { servers: 0, ram: undefined, disk: undefined })
  assert.deepEqual(nbd, { host: '0.0.0.0', port: 10_809, tls: { certificate: join(folder, 'c'), key: '/k' } })
})

test('config: settings of servers and exports that cannot be', () => {
  const cases = [
    ['[servers]\nnetwork = bridge:', /servers\.network must be user, isolated, none or bridge:NAME/],
    ['[servers]\nnetwork = bridge:abcdefghijklmnop', /servers\.network must be/],
    ['[servers]\nfirst_uid = 1000', /servers\.first_uid must be .*65536/],
    ['[servers]\nssh_ports = 80-90', /servers\.ssh_ports must be two ports/],
    ['[servers]\nssh_ports = 3001-3000', /servers\.ssh_ports must be two ports/],
    ['[servers]\nssh_address = ::1', /servers\.ssh_address must be an IPv4 address/],
    ['[servers]\naccelerator = hvf', /servers\.accelerator must be one of auto, kvm, tcg/],
    ['[nbd]\nlisten = 10.0.0.1:10809', /nbd\.listen must be a loopback address/],
    ['[nbd]\ncertificate = /c', /nbd\.certificate and nbd\.key must be set together/],
  ] as const
  for (const [text, message] of cases)
    assert.throws(() => readConfig({ config: withFile(text) }), { code: 'invalid', message })
})

test('config: a setting in the wrong section gets a hint', () => {
  assert.throws(() => readConfig({ config: withFile('virtual_size = 3 GiB') }), {
    hint: 'did you mean limits.virtual_size?',
  })
})

test('settings: a file with the line ends of another system is read the same', () => {
  const settings = parseSettings('[a]\r\nb = c d \r\n', 'f')
  assert.deepEqual(settings, [{ key: 'a.b', value: 'c d', place: 'f:2' }])
})

test('settings: the guide has every one of them with its default', () => {
  const guide = readFileSync(new URL('../../docs/guides/settings.md', import.meta.url), 'utf8')
  const documented = [...guide.matchAll(/^\| `([\w.]+)` \| (?:`([^`]*)`|\(none\)) \|/gm)]
  const expected = Object.entries(SETTINGS).map(([key, { byDefault }]) => [key, byDefault])
  assert.deepEqual(
    documented.map(([, key, byDefault = '']) => [key, byDefault]),
    expected,
  )
})

test('settings: every default keeps its own rule', () => {
  for (const [key, setting] of Object.entries(SETTINGS)) assert.ok(setting.parse(setting.byDefault), key)
})

test('units: what is printed is read back', () => {
  for (const bytes of [0, 1, 1023, 1024, 1536, 2 ** 30, 2 ** 41])
    assert.equal(parseSize(printSize(bytes)), bytes)
  for (const ms of [1, 999, 1000, 90_000, 6 * 3600_000]) assert.equal(parseDuration(printDuration(ms)), ms)
  for (const text of ['', '1 KB', '-1', '1.5 GiB', '9999999999999999', '10000000 TiB', 'GiB'])
    assert.equal(parseSize(text), undefined, text)
})
