import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { DamagedFile } from '#control/catalog/damage.ts'
import { type EventAction, SYSTEM } from '#model/event.ts'
import type { Image } from '#model/image.ts'
import { record } from './access.ts'

/** Damaged files that are remembered: whoever has more needs a backup, and no list. */
const REMEMBERED_MAX = 10_000

/** A damaged file, and the manifests that cannot be read wholly because of it. */
export interface FoundDamage extends Pick<DamagedFile, 'kind' | 'digest' | 'why'> {
  readonly manifests: readonly string[]
}

/** What is known to be damaged: the owners of images are told of it in their images' histories. */
export interface DamageRecords {
  /** @returns images that were whole until now */
  found(damage: FoundDamage): Promise<Image[]>
  /** Says that a file is sound again, or that nobody needs it. @returns images that are whole again */
  mended(file: Pick<DamagedFile, 'kind' | 'digest'>): Promise<Image[]>
  /** Oldest first, at most 10,000. */
  list(): Promise<(DamagedFile & { readonly manifests: readonly string[] })[]>
  /** Images that are hurt. */
  images(): Promise<Image[]>
}

export interface DamageDeps {
  readonly catalog: Catalog
  readonly now: () => number
}

const DAMAGED =
  'Some of the stored bytes of the image are damaged: reads that need them fail until they are mended. ' +
  'Registering or uploading the same image again mends it; the operator was told.'
const MENDED = 'The stored bytes of the image were mended: all of it can be read again.'

export function createDamageRecords({ catalog, now }: DamageDeps): DamageRecords {
  const tell = async (tables: Tables, images: readonly Image[], action: EventAction, message: string) => {
    for (const image of images) await record(tables, { image, action, message, actor: SYSTEM, at: now() })
  }

  return {
    async found({ manifests, ...file }) {
      return catalog.transaction(async (tables) => {
        const { damage } = tables
        await damage.add({ ...file, foundAt: now() })
        const images: Image[] = []
        for (const manifest of manifests) {
          await damage.addHurt(file, manifest)
          images.push(...(await damage.markImages(manifest, now())))
        }
        await tell(tables, images, 'image.damaged', DAMAGED)
        return images
      })
    },
    async mended(file) {
      return catalog.transaction(async (tables) => {
        const { damage } = tables
        const manifests = await damage.manifestsOf(file)
        await damage.remove(file)
        const images: Image[] = []
        for (const manifest of manifests) images.push(...(await damage.unmarkImages(manifest)))
        const there = images.filter(({ status }) => status !== 'deleted')
        await tell(tables, there, 'image.mended', MENDED)
        return there
      })
    },
    async list() {
      const files = await catalog.damage.list(REMEMBERED_MAX)
      return Promise.all(
        files.map(async (file) => ({ ...file, manifests: await catalog.damage.manifestsOf(file) })),
      )
    },
    images: () => catalog.damage.listImages(),
  }
}
