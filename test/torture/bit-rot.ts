import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { Resources } from '#base/resources.ts'
import { BLOCK_SIZE, blockCount } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { check } from '#data/disk/check.ts'
import { checkRound, type DamagedFile, ROUND_START } from '#data/disk/check-round.ts'
import { openForm } from '#data/form/form.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { keepBlock } from '#data/store/keep-block.ts'
import type { Store } from '#data/store/store.ts'
import { DAMAGES, storedPath } from '../support/damage.ts'
import { plainBytes, randomDisk, storeDisk, type TestDisk } from '../support/store-disk.ts'
import type { Attack, Round } from './attack.ts'

const FORMS = ['raw', 'lz4', 'qcow2'] as const

interface Image {
  readonly disk: TestDisk
  readonly manifest: string
  readonly forms: ReadonlyMap<(typeof FORMS)[number], Buffer>
}

/** Damages stored files at random: checks must find just those, reads be right or fail, and what is kept again mend. */
export const bitRot: Attack = {
  name: 'bit rot',
  async run(round) {
    const until = Date.now() + (round.short ? 8_000 : 60_000)
    do await attackOnce(round)
    while (Date.now() < until && !round.signal.aborted)
  },
}

const below = ({ random }: Round, limit: number) => Math.floor(random() * limit)

async function attackOnce(round: Round): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bit-rot-'))
  try {
    const store = await openFilesystemStore(folder)
    const images: Image[] = []
    for (let number = 0; number < 3; number++) {
      const disk = randomDisk(below(round, 2 ** 31), (1 + below(round, 7)) * MiB + 512 * below(round, 2048))
      const manifest = await storeDisk(store, disk)
      images.push({ disk, manifest, forms: await readForms(store, manifest) })
      round.count('registrations')
    }
    for (const { disk, forms } of images)
      assert.ok(forms.get('raw')?.equals(plainBytes(disk)), 'a disk reads back')
    const damaged = await damageSome(round, folder, store)
    await demandReads(round, store, images)
    await demandFound(store, images, damaged)
    for (const { disk } of images) await mend(store, disk)
    await demandSound(store, images)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function readForm(store: Store, manifest: string, kind: (typeof FORMS)[number]): Promise<Buffer> {
  await using form = await openForm(store, manifest, kind)
  const chunks: Uint8Array[] = []
  for await (const chunk of form.read(0, form.size, new AbortController().signal)) chunks.push(chunk.slice())
  return Buffer.concat(chunks)
}

async function readForms(store: Store, manifest: string): Promise<Image['forms']> {
  const forms = new Map<(typeof FORMS)[number], Buffer>()
  for (const kind of FORMS) forms.set(kind, await readForm(store, manifest, kind))
  return forms
}

/** @returns the names of what is damaged, with its kind */
async function damageSome(round: Round, folder: string, store: Store): Promise<Set<string>> {
  const damaged = new Set<string>()
  for (const kind of ['blocks', 'manifests'] as const) {
    const digests = (await Array.fromAsync(store[kind].list())).map(({ digest }) => digest)
    // A sound file of the kind is needed to stand in the place of another.
    const sound = digests.splice(below(round, digests.length), 1)[0]
    for (const digest of digests) {
      if (round.random() > 0.3 || sound === undefined) continue
      const { name, apply } = DAMAGES[below(round, DAMAGES.length)] ?? assert.fail()
      round.say(`${kind} ${digest.slice(0, 8)}: ${name}`)
      await apply(storedPath(folder, kind, digest), storedPath(folder, kind, sound))
      damaged.add(kind + digest)
      round.count('damaged blocks')
    }
  }
  return damaged
}

/** Whatever is read wholly is right; an error is one that tells of damage. */
async function demandReads(round: Round, store: Store, images: readonly Image[]): Promise<void> {
  for (const { manifest, forms } of images) {
    for (const kind of FORMS) {
      try {
        assert.ok((await readForm(store, manifest, kind)).equals(forms.get(kind) ?? Buffer.alloc(0)), kind)
      } catch (error) {
        assert.ok(error instanceof LibraryError, String(error))
        assert.ok(['corrupt', 'not_found', 'unavailable'].includes(error.code), error.message)
        round.count('faults')
      }
    }
  }
}

/** A round of the background check finds all that is damaged, and nothing else. */
async function demandFound(store: Store, images: readonly Image[], damaged: Set<string>): Promise<void> {
  const found = new Map<string, DamagedFile>()
  await checkRound({
    store,
    after: ROUND_START,
    pace: async () => {},
    onDamaged: (file) => found.set(`${file.kind}s${file.digest}`, file),
    onPlace: () => {},
    signal: new AbortController().signal,
  })
  for (const name of found.keys()) assert.ok(damaged.has(name), `${name} is sound`)
  // What is gone is missed by whoever needs it, which a round leaves to who knows the roots.
  const { missing } = await check({
    store,
    roots: () => rootsOf(images),
    signal: new AbortController().signal,
  })
  for (const { kind, digest } of missing)
    found.set(`${kind}s${digest}`, { kind, digest, why: '', isMissing: true })
  const readable = new Set<string>()
  for (const { manifest } of images) if (!damaged.has(`manifests${manifest}`)) readable.add(manifest)
  for (const name of damaged) {
    const isThere = found.has(name) || name.startsWith('manifests')
    // A block that is gone can only be missed through a manifest that can be read.
    if (!isThere && readable.size === images.length) assert.fail(`${name} was not found`)
  }
}

async function* rootsOf(images: readonly Image[]) {
  for (const { manifest } of images) yield { manifest, what: manifest }
}

const SOURCE = 64 * 1024
const OUTPUT = SOURCE + BLOCK_SIZE
const TABLE = OUTPUT + 2 * BLOCK_SIZE

/** Stores a disk again as registrations and transfers do. */
async function mend(store: Store, disk: TestDisk): Promise<void> {
  const codec = openCodec(createCodecMemory(TABLE + COMPRESS_TABLE_SIZE + BLOCK_SIZE))
  const keepWith = { blocks: store.blocks, codec, outputs: new Resources([OUTPUT]), table: TABLE }
  await using writer = new ManifestWriter({ directory: tmpdir() })
  for (let index = 0; index < blockCount(disk.size); index++) {
    const plain = disk.block(index)
    if (!plain) continue
    codec.bytes.set(plain, SOURCE)
    const kept = await keepBlock(keepWith, SOURCE, plain.length)
    if (kept) await writer.set(index, kept.digest, kept.storedLength)
  }
  await writer.finish(store.manifests, disk.size)
}

async function demandSound(store: Store, images: readonly Image[]): Promise<void> {
  const { signal } = new AbortController()
  const { damaged, missing } = await check({ store, roots: () => rootsOf(images), signal })
  assert.deepEqual([damaged, missing], [[], []], 'what was stored again is sound')
  for (const { manifest, forms } of images)
    for (const kind of FORMS)
      assert.ok((await readForm(store, manifest, kind)).equals(forms.get(kind) ?? Buffer.alloc(0)), kind)
}
