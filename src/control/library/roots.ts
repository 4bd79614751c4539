import type { Catalog } from '#control/catalog/catalog.ts'
import { MAKING, type RegistrationPayload } from './deps.ts'
import type { Roots } from './library.ts'
import { type OverdueDeps, removeOverdue } from './overdue.ts'
import { manifestsOf } from './own-objects.ts'

/** Manifests of objects read at a time. */
const PAGE = 5000
/** Jobs read at a time: one may have megabytes of parts. */
const JOBS_PAGE = 16

export interface RootsDeps extends OverdueDeps {
  readonly catalog: Catalog
  /** The store's. */
  readonly generations: { nextGeneration(): Promise<number> }
}

/**
 * Everything that a collection that starts now must leave alone. Whoever writes has first read the generation, then
 * said in the catalog that it began in it; so who is not seen here writes in the one that begins now
 * (docs/decisions/0038-generations-instead-of-clocks.md).
 */
export async function readRoots(deps: RootsDeps): Promise<Roots> {
  const { catalog, generations } = deps
  await removeOverdue(deps)
  const present = await generations.nextGeneration()
  // Before any manifest: what ends in between is then seen in both, and never in neither.
  const jobs = await Promise.all(MAKING.map((kind) => catalog.jobs.firstGeneration(kind)))
  const upload = await catalog.uploadGuards.firstSince()
  const began = [...jobs, upload].filter((generation) => generation !== undefined)
  return { unclaimedSince: Math.min(present, ...began), manifests: () => readManifests(catalog) }
}

/**
 * A manifest may come twice. Objects come in the order of their manifests, so that one which is copied or moved
 * meanwhile is still seen; images and what is being read before and after them, for what becomes of one the other.
 */
export async function* readManifests(catalog: Catalog): AsyncGenerator<string> {
  yield* await heldManifests(catalog)
  for (let after = ''; ; ) {
    const page = await catalog.objects.listManifests(after, PAGE)
    yield* page
    const last = page.at(-1)
    if (last === undefined) break
    after = last
  }
  yield* await heldManifests(catalog)
}

/**
 * Those of images, of servers' volumes, those that are being read, and those that jobs are to read.
 * An image that is destroyed lives on in what is read of it and in volumes, and either of these in the other: of them
 * one moment is read. Jobs may be large, so they come page by page; what was in none of the others before becomes one
 * of them where its job ends, so they are looked at before and after.
 */
async function heldManifests(catalog: Catalog): Promise<Set<string>> {
  const held = new Set<string>()
  const add = (manifests: Iterable<string>) => {
    for (const manifest of manifests) held.add(manifest)
  }
  const addThoseOfRows = () =>
    catalog.snapshot(async ({ images, volumes, pins }) => {
      add(await images.listManifests())
      add(await volumes.listManifests())
      add(await pins.listManifests())
    })
  await addThoseOfRows()
  for (let after = ''; ; ) {
    const jobs = await catalog.jobs.list(MAKING, after, JOBS_PAGE)
    for (const { payload } of jobs) add(manifestsToRead(payload as RegistrationPayload))
    const last = jobs.at(-1)
    if (last === undefined) break
    after = last.id
  }
  await addThoseOfRows()
  return held
}

function manifestsToRead(payload: RegistrationPayload): readonly string[] {
  if (payload.source === 'orbit') return manifestsOf(payload)
  if (payload.source === 'upload') {
    const { content } = payload
    return content && 'manifest' in content ? [content.manifest] : []
  }
  return payload.source === 'volume' && payload.manifest !== undefined ? [payload.manifest] : []
}
