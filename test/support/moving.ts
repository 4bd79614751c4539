import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MiB } from '#base/bytes.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { check } from '#data/disk/check.ts'
import { NO_PROVENANCE } from '#model/image.ts'
import { type Config, type Flags, readConfig } from '../../src/daemon/config.ts'
import { type BackedUp, type BackupOptions, backUp } from '../../src/daemon/moving/backup.ts'
import { openPlaces, type Places } from '../../src/daemon/moving/open-places.ts'
import { type Restored, type RestoreOptions, restore } from '../../src/daemon/moving/restore.ts'
import { nameRoots } from '../../src/daemon/name-roots.ts'
import { storeDisk } from './store-disk.ts'

export interface World extends Places {
  readonly config: Config
  readonly accountId: string
  /** Adds an image of a few blocks, which often share some with others. @returns its id */
  addImage(seed: number): Promise<string>
  /** What images and objects there are, and what their disks hold; fails where one cannot be read. */
  contents(): Promise<unknown>
  backUp(backup: string, more?: Partial<BackupOptions>): Promise<BackedUp>
}

export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'moving-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

const letters = (number: number): Buffer => Buffer.alloc(MiB, `${number}`)

const never = new AbortController().signal

/** A library's records and bytes, without the library. */
export async function openWorld(flags: Flags): Promise<World> {
  const config = readConfig(flags)
  const { catalog, store, ...closing } = await openPlaces(config)
  // Nothing here is ever lost, and syncing is most of what takes time.
  const unsynced = { ...store, sync: async () => {} }
  const known = (await catalog.accounts.list())[0]
  const account = known ?? (await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 }))
  return {
    ...closing,
    ...{ config, catalog, store, accountId: account.id },
    async addImage(seed) {
      const random = createRandom(seed)
      const blocks = Array.from({ length: 1 + random.below(3) }, () => letters(random.below(50)))
      const size = blocks.length * MiB - random.below(1000)
      const disk = (index: number) => blocks[index]?.subarray(0, size - index * MiB)
      const manifest = await storeDisk(unsynced, { size, block: disk })
      const { id } = await catalog.transaction((tables) =>
        tables.images.insert({
          ...IMAGE,
          accountId: account.id,
          name: `image ${seed}`,
          manifest,
          createdAt: seed,
        }),
      )
      return id
    },
    async contents() {
      await assertSound({ catalog, store })
      const images = await catalog.images.listReadable(account.id)
      return { accounts: await catalog.accounts.list(), images }
    },
    backUp: (backup, more = {}) =>
      backUp({
        ...{ backup, config, catalog, store, holder: 'backup', verify: false, signal: never },
        onProgress: () => {},
        ...more,
      }),
  }
}

/** Fails where anything that is stored is damaged, or something that is needed is not stored. */
export async function assertSound({ catalog, store }: Pick<Places, 'catalog' | 'store'>): Promise<void> {
  const report = await check({ store, roots: () => nameRoots(catalog), signal: never })
  const found = [...report.damaged, ...report.missing]
  if (found.length > 0) throw new Error(JSON.stringify(found))
}

export const restoreTo = (
  backup: string,
  flags: Flags,
  more: Partial<RestoreOptions> = {},
): Promise<Restored> =>
  restore({
    ...{ backup, snapshot: undefined, config: readConfig(flags), despiteDamage: false, signal: never },
    onProgress: () => {},
    ...more,
  })

const IMAGE = {
  arch: 'x86_64',
  status: 'available',
  description: null,
  username: null,
  sourceType: 'upload',
  sourceTrigger: 'manual',
  source: null,
  minRam: null,
  public: false,
  official: false,
  compatibilityMode: false,
  locked: false,
  licenceName: null,
  ancestorId: null,
  virtualSize: MiB,
  dataSize: MiB,
  provenance: NO_PROVENANCE,
  progress: null,
  failure: null,
  damagedAt: null,
  updatedAt: 1,
} as const
