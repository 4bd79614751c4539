import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { addServer, REGISTER, snapshotOf } from '#control/library/library.fixtures.ts'
import { PLAIN } from '#control/orbit/orbit.fixtures.ts'
import { check } from '#data/disk/check.ts'
import { again, assertTruth, type FaultWorld, HOST } from './fault-world.ts'

const { signal } = new AbortController()
const never = { signal }

/** Something done to a library: `act` while calls fail, `verify` after they no longer do and time has passed. */
export interface Operation {
  readonly name: string
  prepare(world: FaultWorld, bytes: Buffer): Promise<{ act(): Promise<void>; verify(): Promise<void> }>
}

let count = 0

async function registered(world: FaultWorld, bytes: Buffer): Promise<string> {
  const httpUrl = `http://example.test/${++count}.img`
  world.sources.set(httpUrl, bytes)
  return (await again(() => world.library.register(world.fixture.owner, { ...REGISTER, httpUrl }))).id
}

async function available(world: FaultWorld, bytes: Buffer): Promise<string> {
  const id = await registered(world, bytes)
  await world.settle()
  return id
}

async function put(world: FaultWorld, object: string, bytes: Buffer): Promise<void> {
  const { orbit, owner, account } = world.orbit
  await again(async () => {
    const options = { attributes: PLAIN, signal }
    await using upload = await orbit.objects.beginPut(owner, { account, container: 'c', object }, options)
    await upload.write(bytes)
    await upload.finish()
  })
}

async function readObject({ orbit: { orbit, owner, account }, contents }: FaultWorld, object: string) {
  await using located = await orbit.objects.locate(owner, { account, container: 'c', object })
  await using reader = await contents.openReader(located.parts)
  const chunks = await Array.fromAsync(reader.read(0, reader.size, signal), (chunk) => Buffer.from(chunk))
  const bytes = Buffer.concat(chunks)
  assert.equal(createHash('md5').update(bytes).digest('hex'), located.info.etag)
  return bytes
}

async function* chunksOf(bytes: Buffer, from: number) {
  for (let at = from; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}

const register: Operation = {
  name: 'registration',
  async prepare(world, bytes) {
    let id = ''
    return {
      async act() {
        id = await registered(world, bytes)
        await world.settle()
      },
      verify: () => assertTruth(world, id, bytes),
    }
  },
}

const upload: Operation = {
  name: 'upload',
  async prepare(world, bytes) {
    const { library, fixture } = world
    let id = ''
    return {
      async act() {
        id = (await again(() => library.register(fixture.owner, { arch: 'x86_64', upload: true }))).id
        await again(async () => {
          const { progress } = await library.show(fixture.owner, id)
          if (progress?.phase !== 'uploading') return
          const { received } = await library.uploads.show(fixture.owner, id)
          const options = { ...never, total: bytes.length }
          await library.uploads.receive(fixture.owner, id, received, chunksOf(bytes, received), options)
        })
        await world.settle()
      },
      verify: () => assertTruth(world, id, bytes),
    }
  },
}

const adopt: Operation = {
  name: 'registration of an object',
  async prepare(world, bytes) {
    const { library, fixture, orbit } = world
    const place = { account: orbit.account, container: 'c' }
    await orbit.orbit.containers.update(orbit.owner, place, { metadata: {}, read: '.r:*' })
    await put(world, 'disk', bytes)
    let id = ''
    return {
      async act() {
        const httpUrl = `http://${HOST}/v1/${orbit.account}/c/disk`
        const asker = { host: HOST, ip: '192.0.2.1' }
        id = (await again(() => library.register(fixture.owner, { ...REGISTER, httpUrl }, asker))).id
        await world.settle()
      },
      async verify() {
        await assertTruth(world, id, bytes)
        assert.equal((await library.list(fixture.owner)).length, 1, 'who was told of a failure made nothing')
        assert.ok((await readObject(world, 'disk')).equals(bytes))
      },
    }
  },
}

const snapshot: Operation = {
  name: 'snapshot',
  async prepare(world, bytes) {
    const { fixture, library } = world
    const ancestor = await library.show(fixture.owner, await available(world, bytes))
    const { server, volume } = await addServer(fixture, ancestor)
    let id = ''
    return {
      async act() {
        const taken = snapshotOf(server, ancestor, fixture.owner, { size: bytes.length })
        const register = () =>
          world.catalog.transaction((tables) => library.snapshots.register(tables, taken))
        id = (await again(register)).id
        library.snapshots.wake()
        await world.settle()
      },
      async verify() {
        await assertTruth(world, id, bytes)
        const { catalog, now } = fixture.options
        await catalog.volumes.update(volume.id, { status: 'deleted', updatedAt: now(), deletedAt: now() })
      },
    }
  },
}

const destroy: Operation = {
  name: 'deletion',
  async prepare(world, bytes) {
    const { fixture, library } = world
    const [doomed, twin] = [await available(world, bytes), await available(world, bytes)]
    return {
      async act() {
        await again(() => library.destroy(fixture.owner, doomed))
        await world.settle()
      },
      async verify() {
        await assertTruth(world, twin, bytes)
        const row = await fixture.options.catalog.images.find(doomed)
        assert.equal(row?.status, 'deleted')
        const events = (await library.events(fixture.owner, doomed)).map(({ action }) => action)
        assert.equal(events.filter((action) => action === 'image.deleted').length, 1, `${events}`)
      },
    }
  },
}

const change: Operation = {
  name: 'change',
  async prepare(world, bytes) {
    const { fixture, library } = world
    const id = await available(world, bytes)
    const name = `changed ${++count}`
    return {
      async act() {
        await again(() => library.update(fixture.owner, id, { name, public: true }))
        await world.settle()
      },
      async verify() {
        await assertTruth(world, id, bytes)
        const image = await library.show(fixture.owner, id)
        assert.deepEqual([image.name, image.public], [name, true])
        const events = (await library.events(fixture.owner, id)).map(({ action }) => action)
        assert.equal(events.filter((action) => action === 'image.updated').length, 1)
      },
    }
  },
}

/** The operator's commands end with the store's error, and are then given again. */
const collection: Operation = {
  name: 'collection',
  async prepare(world, bytes) {
    const { fixture, library } = world
    const kept = await available(world, bytes)
    const doomed = await available(world, Buffer.from(bytes).fill('doomed', 0, 512))
    await library.destroy(fixture.owner, doomed)
    await world.settle()
    return {
      act: () => again(() => world.collect()),
      verify: () => assertTruth(world, kept, bytes),
    }
  },
}

const checking: Operation = {
  name: 'check',
  async prepare(world, bytes) {
    const id = await available(world, bytes)
    const manifest = (await world.library.show(world.fixture.owner, id)).manifest ?? ''
    async function* roots() {
      yield { manifest, what: id }
    }
    return {
      async act() {
        const { damaged, missing } = await again(() => check({ store: world.store, roots, signal }))
        for (const { why } of [...damaged, ...missing])
          assert.match(why, /EIO/, 'what is sound is not blamed')
      },
      verify: () => assertTruth(world, id, bytes),
    }
  },
}

const putObject: Operation = {
  name: 'PUT of an object',
  async prepare(world, bytes) {
    const before = Buffer.from(bytes).fill('before', 0, 512)
    await put(world, 'o', before)
    let done = false
    return {
      async act() {
        await put(world, 'o', bytes)
        done = true
      },
      async verify() {
        assert.ok((await readObject(world, 'o')).equals(done ? bytes : before))
      },
    }
  },
}

const copyObject: Operation = {
  name: 'COPY of an object',
  async prepare(world, bytes) {
    const { orbit, owner, account } = world.orbit
    await put(world, 'o', bytes)
    const at = (object: string) => ({ account, container: 'c', object })
    const options = { attributes: PLAIN, signal }
    return {
      act: async () => void (await again(() => orbit.objects.copy(owner, at('o'), at('copy'), options))),
      async verify() {
        for (const name of ['o', 'copy']) assert.ok((await readObject(world, name)).equals(bytes))
      },
    }
  },
}

const removeObject: Operation = {
  name: 'DELETE of an object',
  async prepare(world, bytes) {
    const { orbit, owner, account } = world.orbit
    for (const object of ['doomed', 'kept']) await put(world, object, bytes)
    const path = { account, container: 'c', object: 'doomed' }
    return {
      act: () => again(() => orbit.objects.remove(owner, path)),
      async verify() {
        const names = await world.orbit.names()
        assert.deepEqual([names.includes('doomed'), names.includes('kept')], [false, true])
        assert.ok((await readObject(world, 'kept')).equals(bytes))
        const { objectCount } = await orbit.accounts.show(owner, account)
        assert.equal(objectCount, names.length)
      },
    }
  },
}

export const OPERATIONS: readonly Operation[] = [
  ...[register, upload, adopt, snapshot, destroy, change, collection, checking],
  ...[putObject, copyObject, removeObject],
]

/**
 * One operation of which calls fail, to its right end.
 * @param due calls, counted from 1 @returns the names of those that failed
 */
export async function runWithFaults(
  world: FaultWorld,
  operation: Operation,
  { bytes, due, kind }: { readonly bytes: Buffer; readonly due: Iterable<number>; readonly kind: number },
): Promise<readonly string[]> {
  const { faults } = world
  const { act, verify } = await operation.prepare(world, bytes)
  faults.arm(due, kind)
  try {
    await act()
  } finally {
    faults.disarm()
  }
  const failed = [...faults.failed]
  try {
    await world.settle()
    await verify()
    await world.empty()
  } catch (cause) {
    throw new Error(`${operation.name}, where ${failed.join(', ') || 'nothing'} failed`, { cause })
  }
  return failed
}
