import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { logIn as logInBySsh } from '#edge/sftp/ssh-client.fixtures.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type Exposition, parseExposition } from '../support/exposition.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { libraryAt } from '../support/library-place.ts'
import { firstUser, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { execute, register, settled } from '../support/registration.ts'

const MiB = 1024 * 1024

describe('metrics', () => {
  let folder: string
  let files: FileServer
  let daemon: Daemon
  let owner: OrbitUser
  const lines: string[] = []
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'metrics-'))
    // Three blocks that are new, and one of zeros that is never stored.
    await writeFile(join(folder, 'disk'), Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(MiB)]))
    await writeFile(join(folder, 'page'), '<!DOCTYPE html><html><body>log in</body></html>'.repeat(40))
    files = await startFileServer(folder)
    daemon = await startDaemon({
      settings: { 'metrics.listen': '127.0.0.1:0', 'check.age': '2 s' },
      arguments: ['--sftp', '127.0.0.1:0'],
    })
    owner = await firstUser(daemon)
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await files[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  async function scrape(): Promise<Exposition> {
    const [url = ''] = /http:\S+\/metrics/.exec(daemon.output()) ?? []
    const response = await fetch(url)
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
    const text = await response.text()
    lines.push(text)
    return parseExposition(text)
  }

  /** Looks until it is so: threads and processes tell what they did a moment later. */
  async function until(isSo: (now: Exposition) => boolean): Promise<Exposition> {
    const deadline = Date.now() + 60_000
    for (;;) {
      const now = await scrape()
      if (isSo(now)) return now
      assert.ok(Date.now() < deadline, lines.at(-1))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** By how much samples changed; one that was absent was 0. */
  const changed = (before: Exposition, now: Exposition, sample: string) =>
    (now.value(sample) ?? 0) - (before.value(sample) ?? 0)

  test('a registration is counted: bytes, blocks, new and known, calls of the store, its job and its end', async () => {
    const start = await scrape()
    const first = await register(daemon, files.url('disk'))
    assert.equal((await settled(daemon, first.id)).status, 'available')
    const available = 'image_library_registrations_ended_total{code="",outcome="available"}'
    // The attempt ends last.
    const attempts = 'image_library_job_attempts_total{kind="registration",outcome="done"}'
    const middle = await until((now) => changed(start, now, attempts) === 1)
    assert.equal(changed(start, middle, available), 1)
    assert.equal(changed(start, middle, 'image_library_source_received_bytes_total'), 4 * MiB)
    assert.equal(changed(start, middle, 'image_library_store_blocks_total{outcome="new"}'), 3)
    const newBytes = changed(start, middle, 'image_library_store_bytes_total{outcome="new"}')
    assert.ok(newBytes >= 3 * MiB && newBytes < 3.1 * MiB, `${newBytes}`)
    assert.equal(changed(start, middle, 'image_library_store_blocks_total{outcome="known"}'), 0)
    const calls = (operation: string) =>
      changed(start, middle, `image_library_store_operation_seconds_count{operation="${operation}"}`)
    assert.equal(calls('block_put'), 3)
    assert.equal(calls('block_claim'), 3)
    assert.equal(calls('manifest_put'), 1)
    assert.ok(calls('sync') >= 1)
    assert.equal(changed(start, middle, 'image_library_job_attempt_seconds_count{kind="registration"}'), 1)
    assert.equal(middle.sum('image_library_registrations_running'), 0)

    const again = await register(daemon, files.url('disk'))
    assert.equal((await settled(daemon, again.id)).status, 'available')
    const end = await until((now) => changed(middle, now, attempts) === 1)
    assert.equal(changed(middle, end, available), 1)
    assert.equal(changed(middle, end, 'image_library_store_blocks_total{outcome="known"}'), 3)
    assert.equal(changed(middle, end, 'image_library_store_blocks_total{outcome="new"}'), 0)
    assert.equal(end.value('image_library_jobs_waiting{kind="registration"}') ?? 0, 0)
  })

  test('a registration that failed is counted under its code', async () => {
    const start = await scrape()
    const { id } = await register(daemon, files.url('page'))
    assert.equal((await settled(daemon, id)).failure?.code, 'not-an-image')
    const failed = 'image_library_registrations_ended_total{code="not-an-image",outcome="failed"}'
    const attempts = 'image_library_job_attempts_total{kind="registration",outcome="failed"}'
    const end = await until((now) => changed(start, now, attempts) === 1)
    assert.equal(changed(start, end, failed), 1)
  })

  test('a round of the check is counted, and a collection of another process', async () => {
    const start = await scrape()
    const finished = 'image_library_check_last_finished_timestamp_seconds'
    const later = (than: Exposition) => (now: Exposition) =>
      (now.value(finished) ?? 0) > (than.value(finished) ?? 0)
    // The first to end may have been under way before.
    const checked = await until(later(await until(later(start))))
    assert.ok(changed(start, checked, 'image_library_check_files_total{kind="block"}') >= 3)
    assert.ok(changed(start, checked, 'image_library_check_bytes_total') >= 3 * MiB)
    assert.equal(checked.value('image_library_damaged_files'), 0)

    assert.equal(checked.value('image_library_collection_last_finished_timestamp_seconds'), undefined)
    const { body: images } = await daemon.api<{ id: string }[]>('GET', '/1.0/images')
    for (const { id } of images) await daemon.api('DELETE', `/1.0/images/${id}`)
    const removals = 'image_library_job_attempts_total{kind="removal",outcome="done"}'
    await until((now) => changed(start, now, removals) === images.length)
    const collect = ['collect', ...(await libraryAt(daemon.data))]
    await execute('bin/image-library', [...collect, '--dry-run'])
    assert.equal((await scrape()).value('image_library_collection_runs_total'), 0)
    await execute('bin/image-library', collect)
    const end = await scrape()
    assert.equal(end.value('image_library_collection_runs_total'), 1)
    const removed = end.value('image_library_collection_removed_bytes_total') ?? 0
    assert.ok(removed >= 3 * MiB && removed < 3.1 * MiB, `${removed}`)
    const at = end.value('image_library_collection_last_finished_timestamp_seconds') ?? 0
    assert.ok(Math.abs(at - Date.now() / 1000) < 60, `${at}`)
  })

  test('an object that is put and read is counted at its edge, and its blocks in the store', async () => {
    const start = await scrape()
    assert.equal((await owner.send('PUT', '/box')).status, 201)
    const body = randomBytes(2 * MiB)
    assert.equal((await owner.send('PUT', '/box/secret-name', { body })).status, 201)
    assert.equal((await owner.send('GET', '/box/secret-name')).body.length, body.length)
    assert.equal((await owner.send('GET', '/box/nothing')).status, 404)
    const requests = (method: string, status: string) =>
      `image_library_http_requests_total{edge="orbit",method="${method}",status="${status}"}`
    const end = await until((now) => changed(start, now, requests('GET', '4xx')) === 1)
    assert.equal(changed(start, end, requests('PUT', '2xx')), 2)
    assert.equal(changed(start, end, requests('GET', '2xx')), 1)
    assert.equal(changed(start, end, 'image_library_http_request_seconds_count{edge="orbit"}'), 4)
    assert.equal(changed(start, end, 'image_library_store_blocks_total{outcome="new"}'), 2)
    assert.ok((end.value('image_library_http_connections') ?? 0) >= 1)
    assert.equal(end.value('image_library_http_requests_running{edge="orbit"}'), 0)
  })

  test('a session of SFTP is counted with its bytes, and the blocks that its process stored', async (t) => {
    const start = await scrape()
    const { user, key } = owner
    const { client, closed, sftp } = await logInBySsh(t, sftpPort(daemon), { username: user, password: key })
    const session = await sftp()
    await session.write('box/by-sftp', randomBytes(2 * MiB))
    const during = await until((now) => now.value('image_library_sftp_connections') === 1)
    assert.equal(changed(start, during, 'image_library_sftp_connections_total'), 1)
    client.end()
    await closed
    const end = await until((now) => now.value('image_library_sftp_connections') === 0)
    assert.ok(changed(start, end, 'image_library_sftp_bytes_total{direction="received"}') > 2 * MiB)
    assert.ok(changed(start, end, 'image_library_sftp_bytes_total{direction="sent"}') > 0)
    assert.equal(changed(start, end, 'image_library_store_blocks_total{outcome="new"}'), 2)
  })

  test('no metric names anybody or anything, and nobody reads them at the address that clients use', async () => {
    const now = await scrape()
    const named = /secret-name|by-sftp|\b(?:img|acc|cli|srv|usr|job)-[a-z0-9]|127\.0\.0\.1|\//
    for (const [label, value] of now.labels) assert.doesNotMatch(value, named, label)
    for (const path of ['/metrics', '/metrics/'])
      assert.equal((await fetch(`${daemon.url}${path}`)).status, 404, path)
    assert.equal(now.value('image_library_ready'), 1)
    assert.ok((now.value('image_library_disk_free_bytes') ?? 0) > 0)
    assert.ok((now.value('process_resident_memory_bytes') ?? 0) > 10 * MiB)
    assert.notEqual(now.value('nodejs_eventloop_lag_p99_seconds'), undefined)
  })
})
