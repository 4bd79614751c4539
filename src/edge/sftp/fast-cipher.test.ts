import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import ssh2, { type Connection } from 'ssh2'
import { speedUp } from './fast-cipher.ts'

const hostKeys = [ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private]

/** What `speedUp` says of a connection with this cipher, whose client then still logs in. */
async function speedUpWith(cipher: ssh2.CipherAlgorithm): Promise<boolean> {
  const listener = createServer((socket) => server.injectSocket(socket)).listen(0, '127.0.0.1')
  const spedUp = Promise.withResolvers<boolean>()
  const server = new ssh2.Server({ hostKeys, algorithms: { cipher: [cipher] } }, (connection) => {
    connection.on('error', () => {})
    connection.on('handshake', () => spedUp.resolve(speedUp(connection)))
    connection.on('authentication', (context) => context.accept())
  })
  await once(listener, 'listening')
  const client = new ssh2.Client()
  const { port } = listener.address() as AddressInfo
  client.connect({ host: '127.0.0.1', port, username: 'a', password: 'b' })
  await once(client, 'ready')
  client.end()
  listener.close()
  return await spedUp.promise
}

test('cipher: the library has what is sped up where we look for it', async () => {
  assert.equal(await speedUpWith('aes128-gcm@openssh.com'), true)
  assert.equal(await speedUpWith('aes256-gcm@openssh.com'), true)
})

test('cipher: others, and a library that is not as we know it, are left alone', async () => {
  assert.equal(await speedUpWith('aes128-ctr'), false)
  for (const strange of [{}, { _protocol: {} }, { _protocol: { _cipher: {}, _decipher: {} } }]) {
    const before = structuredClone(strange)
    assert.equal(speedUp(strange as unknown as Connection), false)
    assert.deepEqual(strange, before)
  }
})
