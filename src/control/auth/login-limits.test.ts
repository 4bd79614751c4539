import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoginLimit } from './login-limit.ts'
import { LoginLimits, networkOf } from './login-limits.ts'

function setUp() {
  const clock = { at: Date.UTC(2026, 0, 1) }
  const limits = new LoginLimits({ now: () => clock.at })
  /** @returns how many of these wrong guesses were checked */
  const guess = (times: number, of: (n: number) => { identity: string; address: string }) => {
    let checked = 0
    for (let n = 0; n < times; n++) {
      if (limits.delayMs(of(n)) > 0) continue
      limits.begin(of(n))
      checked++
    }
    return checked
  }
  const comeIn = (identity: string, address: string) => {
    limits.begin({ identity, address })
    limits.succeeded({ identity, address })
  }
  return { clock, limits, guess, comeIn }
}

test('login limit: names that nobody can have are told apart, however long they are', () => {
  const limit = new LoginLimit({ now: () => 0 })
  const key = 'x'.repeat(100_000)
  for (let n = 0; n < 6; n++) limit.begin(key)
  assert.ok(limit.delayMs(key) > 0)
  assert.equal(limit.delayMs(`${key}y`), 0)
  limit.succeeded(key)
  assert.equal(limit.delayMs(key), 0)
})

test('login limits: a user has five guesses from one address, then fewer and fewer', () => {
  const { clock, limits, guess } = setUp()
  const of = () => ({ identity: 'usr-a', address: '192.0.2.1' })
  assert.equal(guess(100, of), 5)
  assert.equal(limits.delayMs(of()), 1000)
  const delays: number[] = []
  for (let n = 0; n < 12; n++) {
    clock.at += limits.delayMs(of())
    assert.equal(guess(100, of), 1)
    delays.push(limits.delayMs(of()) / 1000)
  }
  assert.deepEqual(delays, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300])
})

test('login limits: guesses for a user from one address do not keep him out at another', () => {
  const { limits, guess } = setUp()
  guess(1000, () => ({ identity: 'usr-a', address: '192.0.2.1' }))
  assert.equal(limits.delayMs({ identity: 'usr-a', address: '198.51.100.7' }), 0)
})

test('login limits: many addresses have no more than 25 guesses for one user', () => {
  const { limits, guess } = setUp()
  const of = (n: number) => ({ identity: 'usr-a', address: `10.0.${n >> 8}.${n & 255}` })
  assert.equal(guess(5000, of), 25)
  assert.equal(limits.delayMs({ identity: 'usr-b', address: '10.0.0.1' }), 0)
})

test('login limits: one address has no more than 30 guesses for all users, names that there are not included', () => {
  const { clock, limits, guess } = setUp()
  const of = (n: number) => ({ identity: `user-${n}`, address: '192.0.2.1' })
  assert.equal(guess(5000, of), 30)
  for (let n = 0; n < 20; n++) {
    clock.at += limits.delayMs(of(n + 100))
    assert.equal(
      guess(1, () => of(n + 100)),
      1,
    )
  }
  assert.equal(limits.delayMs(of(9999)), 60_000)
})

test('login limits: who came in from an address before is not kept out there by anybody else', () => {
  const { clock, limits, guess, comeIn } = setUp()
  const jo = { identity: 'usr-jo', address: '192.0.2.1' }
  comeIn(jo.identity, jo.address)
  guess(5000, (n) => ({ identity: `user-${n}`, address: jo.address }))
  guess(5000, (n) => ({ identity: jo.identity, address: `10.0.${n >> 8}.${n & 255}` }))
  assert.equal(limits.delayMs(jo), 0)
  assert.ok(limits.delayMs({ ...jo, address: '198.51.100.7' }) > 0)
  assert.equal(
    guess(1000, () => jo),
    5,
    'his own mistakes count',
  )
  clock.at += 31 * 24 * 3600_000
  assert.equal(limits.delayMs(jo), 0)
})

test('login limits: who can log in himself has no more guesses for others', () => {
  const { guess, comeIn } = setUp()
  let checked = 0
  for (let n = 0; n < 500; n++) {
    comeIn('usr-thief', '192.0.2.1')
    checked += guess(1, () => ({ identity: `user-${n}`, address: '192.0.2.1' }))
  }
  assert.equal(checked, 30)
})

test('login limits: an attempt without an address is limited by its identity alone', () => {
  const { limits, guess } = setUp()
  guess(1000, (n) => ({ identity: `user-${n}`, address: '' }))
  assert.equal(limits.delayMs({ identity: 'usr-a', address: '' }), 0)
  assert.equal(
    guess(1000, () => ({ identity: 'usr-a', address: '' })),
    5,
  )
})

test('login limits: a clock that is set back makes nobody wait longer', () => {
  const { clock, limits, guess } = setUp()
  const of = () => ({ identity: 'usr-a', address: '192.0.2.1' })
  guess(5, of)
  clock.at -= 365 * 24 * 3600_000
  assert.equal(limits.delayMs(of()), 1000)
})

test('login limits: an address is its network: 64 bits of IPv6, and IPv4 however it is written', () => {
  assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), networkOf('2001:db8:1:2::1'))
  assert.notEqual(networkOf('2001:db8:1:2::1'), networkOf('2001:db8:1:3::1'))
  assert.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1')
  assert.notEqual(networkOf('192.0.2.1'), networkOf('192.0.2.2'))
  assert.equal(networkOf(''), '')
  assert.equal(networkOf('nonsense'), 'nonsense')
})
