import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { assertTruth, openFaultWorld } from '../../../test/support/fault-world.ts'

const never = { signal: new AbortController().signal }

test('upload: collections between parts and in one take nothing of it; after its end, all', async () => {
  await using world = await openFaultWorld()
  const { library, fixture, catalog } = world
  const { owner } = fixture
  const bytes = randomBytes(5 * MiB + 512)
  /** As if every process that wrote anything had ended long ago. */
  const collectUnguarded = async () => {
    await catalog.uploadGuards.removeAll()
    await world.collect()
  }
  const { id } = await library.register(owner, { arch: 'x86_64', upload: true })
  async function* first() {
    yield bytes.subarray(0, 2 * MiB + 77)
    // What is stored by now is named nowhere, and spared because this process says that it writes.
    await world.collect()
    yield bytes.subarray(2 * MiB + 77, 3 * MiB + 5)
  }
  const { received } = await library.uploads.receive(owner, id, 0, first(), never)
  assert.equal(received, 3 * MiB + 5)
  await collectUnguarded()
  const rest = (async function* () {
    yield bytes.subarray(received)
  })()
  await library.uploads.receive(owner, id, received, rest, { ...never, total: bytes.length })
  await collectUnguarded()
  await world.settle()
  await collectUnguarded()
  await assertTruth(world, id, bytes)
  const abandoned = await library.register(owner, { arch: 'x86_64', upload: true })
  await library.uploads.receive(owner, abandoned.id, 0, first(), never)
  await world.empty()
})
