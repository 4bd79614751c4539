import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { SourceFailure } from '#base/refusal.ts'
import type { LibraryFixture } from './library.fixtures.ts'
import { openLibrary, registerAvailable } from './library.fixtures.ts'
import { createRepair } from './repair.ts'

const { signal } = new AbortController()

function repairOf({ options, scripted }: LibraryFixture, copy?: string) {
  const { catalog, ingest, limits, allowSource } = options
  const repair = createRepair({ catalog, ingest, limits, allowSource, copyOf: async () => copy })
  return { repair, next: scripted.calls.length }
}

const isCode = (code: string) => (error: unknown) => error instanceof LibraryError && error.code === code

test('repair: reads the source again, and demands the bytes of the registration', async () => {
  await using fixture = await openLibrary()
  const image = await registerAvailable(fixture)
  const { repair, next } = repairOf(fixture)
  const repaired = repair(image.id, signal)
  const call = await fixture.scripted.call(next)
  assert.deepEqual(call.request.source, { kind: 'http', url: image.provenance.url })
  assert.equal(call.request.expectedSha256, image.provenance.sha256)
  call.succeed()
  assert.equal(await repaired, 'its source')
  assert.deepEqual(await fixture.library.show(fixture.owner, image.id), image)
})

test('repair: a copy of the disk comes first, and the source where that is damaged, too', async () => {
  await using fixture = await openLibrary()
  const image = await registerAvailable(fixture)
  for (const isSound of [true, false]) {
    const { repair, next } = repairOf(fixture, '/bases/ab')
    const repaired = repair(image.id, signal)
    const copy = await fixture.scripted.call(next)
    assert.equal(copy.request.source.kind, 'volume')
    copy.succeed(isSound ? {} : { manifest: 'ee'.repeat(32) })
    if (!isSound) (await fixture.scripted.call(next + 1)).succeed()
    assert.equal(await repaired, isSound ? 'a copy of the disk' : 'its source')
  }
})

test('repair: other bytes, a source that fails and no source at all are told, and change nothing', async () => {
  await using fixture = await openLibrary()
  const image = await registerAvailable(fixture)
  const { repair, next } = repairOf(fixture)
  const other = repair(image.id, signal)
  ;(await fixture.scripted.call(next)).succeed({ manifest: 'ee'.repeat(32) })
  await assert.rejects(other, isCode('invalid'))
  const gone = repair(image.id, signal)
  ;(await fixture.scripted.call(next + 1)).fail(new SourceFailure('It is gone.', { retryable: false }))
  await assert.rejects(gone, /repair image img-.* from its source: It is gone/)
  await assert.rejects(repair('img-aaaaa', signal), isCode('not_found'))
  const provenance = { ...image.provenance, url: null }
  await fixture.options.catalog.images.update(image.id, { provenance }, ['available'])
  await assert.rejects(repair(image.id, signal), isCode('conflict'))
  assert.equal(fixture.scripted.calls.length, next + 2)
})
