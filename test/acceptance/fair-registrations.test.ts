import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { callerOf, fetchToken } from '../support/api-server.ts'
import { startDaemon } from '../support/daemon.ts'
import { addAccount, addUser } from '../support/orbit.ts'
import { forEach, type ImageJson, register, settled } from '../support/registration.ts'

const QUEUED = 100
const PATIENCE_MS = 60_000

/** A disk with a boot sector at once, or a byte now and then without end. */
async function startSource() {
  const slow = { open: 0, most: 0 }
  const disk = Buffer.alloc(1024 * 1024)
  disk.writeUInt16BE(0x55aa, 510)
  const server = createServer((request, response) => {
    response.on('error', () => {})
    response.setHeader('content-length', disk.length)
    if (request.url === '/quick') return response.end(disk)
    slow.most = Math.max(slow.most, ++slow.open)
    response.once('close', () => void slow.open--)
    const drip = setInterval(() => response.write('x'), 200)
    response.once('close', () => clearInterval(drip))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    slow,
    url,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('fairness: who queues a hundred slow registrations delays nobody else', async () => {
  await using source = await startSource()
  const settings = { 'registrations.concurrent': '2', 'registrations.per_account': '2' }
  await using daemon = await startDaemon({ settings })
  const other = await addUser(daemon, await addAccount(daemon), 'full')
  await forEach(Array.from({ length: QUEUED }), 8, async () => {
    await register(daemon, `${source.url}/slow`)
  })
  while (source.slow.open === 0) await new Promise((resolve) => setTimeout(resolve, 20))

  const call = callerOf(daemon.url, await fetchToken(daemon.url, other.user, other.key))
  const asOther: typeof daemon = { ...daemon, api: call }
  for (let turn = 0; turn < 3; turn++) {
    const { id } = await register(asOther, `${source.url}/quick`)
    const image = await settled(asOther, id, PATIENCE_MS)
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
  }
  assert.equal(source.slow.most, 1, 'the last place is kept for others')
  const { body } = await daemon.api<ImageJson[]>('GET', '/1.0/images')
  assert.equal(body.filter(({ status }) => status === 'creating').length, QUEUED)
})
