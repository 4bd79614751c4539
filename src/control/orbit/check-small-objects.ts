import { createHash } from 'node:crypto'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { InlineObject } from '#control/catalog/object-scans.ts'

/** Objects read at a time, up to 16 KiB each: hashing them must hold nobody up. */
const PAGE = 64

export interface DamagedObject {
  /** Account, container and object. */
  readonly path: string
  readonly why: string
}

/**
 * Compares the bytes of objects that stand in the catalog with their MD5: disks forget there too.
 * @param pace waits until so many bytes more may be read
 */
export async function* checkSmallObjects(
  catalog: Pick<Catalog, 'objects'>,
  pace: (bytes: number) => Promise<void> = async () => {},
): AsyncGenerator<DamagedObject> {
  for (let after: InlineObject | undefined; ; ) {
    const page = await catalog.objects.listInline(after, PAGE)
    await pace(page.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0))
    for (const object of page) {
      const why = whatIsWrong(object)
      const path = `${object.accountId}/${object.container}/${object.object}`
      if (why !== undefined) yield { path, why }
    }
    after = page.at(-1)
    if (!after) return
  }
}

function whatIsWrong({ bytes, size, md5 }: InlineObject): string | undefined {
  if (!bytes) return 'its bytes are gone'
  if (bytes.length !== size) return `${bytes.length} bytes are stored, it has ${size}`
  return createHash('md5').update(bytes).digest('hex') === md5 ? undefined : 'its bytes have another MD5'
}
