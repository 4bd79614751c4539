import type { Image } from '#model/image.ts'
import type { TableContext } from './context.ts'
import { toImage } from './image-rows.ts'

/** A stored file that is not what its name says, or that is not there although it is needed. */
export interface DamagedFile {
  readonly kind: 'block' | 'manifest'
  /** 64 hex digits. */
  readonly digest: string
  /** What is wrong with it, for the operator. */
  readonly why: string
  /** Milliseconds since 1970. */
  readonly foundAt: number
}

type FileName = Pick<DamagedFile, 'kind' | 'digest'>

/** What is known to be damaged, until it is mended. */
export interface Damage {
  /** Without effect where it is known. */
  add(file: DamagedFile): Promise<void>
  /** Says that a manifest needs a damaged file. */
  addHurt(file: FileName, manifest: string): Promise<void>
  /** Oldest first. */
  list(limit: number): Promise<DamagedFile[]>
  manifestsOf(file: FileName): Promise<string[]>
  /** Forgets a file and whom it hurts. */
  remove(file: FileName): Promise<void>
  /** Images that are known to be hurt, and not deleted. */
  listImages(): Promise<Image[]>
  /** Marks the images of a manifest that were whole until now. @returns those */
  markImages(manifest: string, at: number): Promise<Image[]>
  /** Takes the mark off the images of a manifest that nothing hurts any more. @returns those */
  unmarkImages(manifest: string): Promise<Image[]>
}

export function damageTable({ db }: TableContext): Damage {
  return {
    async add({ kind, digest, why, foundAt }) {
      await db
        .insertInto('damaged_files')
        .values({ kind, digest, why, found_at: foundAt })
        .onConflict((conflict) => conflict.columns(['kind', 'digest']).doNothing())
        .execute()
    },
    async addHurt({ kind, digest }, manifest) {
      await db
        .insertInto('damage_hurts')
        .values({ kind, digest, manifest })
        .onConflict((conflict) => conflict.columns(['manifest', 'kind', 'digest']).doNothing())
        .execute()
    },
    async list(limit) {
      const query = db.selectFrom('damaged_files').selectAll().orderBy('found_at').orderBy('digest')
      const rows = await query.limit(limit).execute()
      return rows.map(({ kind, digest, why, found_at: foundAt }) => ({
        kind: kind as DamagedFile['kind'],
        digest,
        why,
        foundAt,
      }))
    },
    async manifestsOf({ kind, digest }) {
      const query = db.selectFrom('damage_hurts').select('manifest').where('kind', '=', kind)
      return (await query.where('digest', '=', digest).execute()).map(({ manifest }) => manifest)
    },
    async remove({ kind, digest }) {
      for (const table of ['damage_hurts', 'damaged_files'] as const)
        await db.deleteFrom(table).where('kind', '=', kind).where('digest', '=', digest).execute()
    },
    async listImages() {
      const query = db
        .selectFrom('images')
        .selectAll()
        .where('manifest', 'in', (eb) => eb.selectFrom('damage_hurts').select('manifest'))
      const rows = await query.where('damaged_at', 'is not', null).where('status', '<>', 'deleted').execute()
      return rows.map(toImage)
    },
    async markImages(manifest, at) {
      const query = db
        .updateTable('images')
        .set({ damaged_at: at })
        .where('manifest', '=', manifest)
        .where('damaged_at', 'is', null)
        .where('status', '<>', 'deleted')
      return (await query.returningAll().execute()).map(toImage)
    },
    async unmarkImages(manifest) {
      const hurt = db.selectFrom('damage_hurts').select('manifest').where('manifest', '=', manifest)
      if (await hurt.limit(1).executeTakeFirst()) return []
      const query = db
        .updateTable('images')
        .set({ damaged_at: null })
        .where('manifest', '=', manifest)
        .where('damaged_at', 'is not', null)
      return (await query.returningAll().execute()).map(toImage)
    },
  }
}
