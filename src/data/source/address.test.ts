import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAddressRule } from './address.ts'

const isPublic = createAddressRule([])

const DENIED = [
  '0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1',
  '172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7',
  '203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16',
  ':: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254',
  '64:ff9b::7f00:1 64:ff9b::169.254.169.254 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe::1 100::1 2001::1',
  '2001:1ff::1 2001:db8::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo fec0::1 ff02::1 4000::1',
].flatMap((line) => line.split(' '))

const PUBLIC = '1.1.1.1 8.8.8.8 93.184.215.14 172.32.0.1 100.128.0.1 192.167.255.255 2606:4700::1111 2a00::1'
const PUBLIC_INSIDE = '::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1'

test('address rule: every private, local and reserved address is denied', () => {
  for (const address of DENIED) assert.equal(isPublic(address), false, address)
})

test('address rule: public addresses are allowed, also inside IPv6', () => {
  for (const address of `${PUBLIC} ${PUBLIC_INSIDE}`.split(' '))
    assert.equal(isPublic(address), true, address)
})

test('address rule: what is no address is denied', () => {
  for (const text of ['', 'localhost', '0x7f.1', '2130706433', '127.1', '[::1]', '1.1.1.1 ', '1.1.1.1/8']) {
    assert.equal(isPublic(text), false, text)
  }
})

test('address rule: an allowed range opens exactly itself', () => {
  const rule = createAddressRule(['127.0.0.0/8', 'fd00:1::/32'])
  for (const address of ['127.0.0.1', '127.9.9.9', '::ffff:127.0.0.1', 'fd00:1::7', '8.8.8.8']) {
    assert.equal(rule(address), true, address)
  }
  for (const address of ['10.0.0.1', '169.254.1.1', '::1', 'fd00:2::7']) {
    assert.equal(rule(address), false, address)
  }
  // A packet to these does not go to our own 127.0.0.1, so the range does not open them.
  for (const address of ['64:ff9b::7f00:1', '2002:7f00:1::', '::127.0.0.1']) {
    assert.equal(rule(address), false, address)
  }
})

test('address rule: a range that is none is refused by name', () => {
  for (const range of [
    '127.0.0.1',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    'fd00::/129',
    'private',
    '/8',
    '10.0.0.0/8/8x',
  ]) {
    assert.throws(
      () => createAddressRule([range]),
      { code: 'invalid', message: /not in CIDR notation/ },
      range,
    )
  }
})
