import type { Catalog } from '#control/catalog/catalog.ts'
import { CLOCK_SLACK_MS } from '#control/catalog/jobs.ts'
import { MAKING, type RegistrationPayload } from './deps.ts'
import type { Roots } from './library.ts'
import { manifestsOf } from './own-objects.ts'
import { PIN_MS } from './pins.ts'

/** File times come from a clock that ticks more coarsely than ours, so they may lie this much before it. */
const CLOCK_GRAIN_MS = 20
/** Manifests of objects read at a time. */
const PAGE = 5000
/** Jobs read at a time: one may have megabytes of parts. */
const JOBS_PAGE = 16

/** Everything that a collection that starts now must leave alone. */
export async function readRoots(catalog: Catalog, now: () => number): Promise<Roots> {
  const at = now()
  // Before any manifest: what ends in between is then seen in both, and never in neither.
  const starts = await Promise.all(MAKING.map((kind) => catalog.jobs.firstStart(kind)))
  const upload = await catalog.uploadGuards.firstSince(at)
  await catalog.relaxed(async ({ pins, uploadGuards }) => {
    await pins.removeExpired(at, PIN_MS)
    await uploadGuards.removeExpired(at)
  })
  return {
    unclaimedSince:
      Math.min(at, ...[...starts, upload].map((began) => sinceThen(began, at))) - CLOCK_GRAIN_MS,
    manifests: () => readManifests(catalog, now),
  }
}

/** What began later than now did so before the clock was set back, which was a moment ago or it would be known. */
function sinceThen(began: number | undefined, now: number): number {
  return began === undefined || began <= now ? (began ?? now) : now - CLOCK_SLACK_MS
}

/**
 * A manifest may come twice. Objects come in the order of their manifests, so that one which is copied or moved
 * meanwhile is still seen; images and what is being read before and after them, for what becomes of one the other.
 */
async function* readManifests(catalog: Catalog, now: () => number): AsyncGenerator<string> {
  yield* await heldManifests(catalog, now())
  for (let after = ''; ; ) {
    const page = await catalog.objects.listManifests(after, PAGE)
    yield* page
    const last = page.at(-1)
    if (last === undefined) break
    after = last
  }
  yield* await heldManifests(catalog, now())
}

/**
 * Those of images, of servers' volumes, those that are being read, and those that jobs are to read.
 * An image that is destroyed lives on in what is read of it and in volumes, and either of these in the other: of them
 * one moment is read. Jobs may be large, so they come page by page; what was in none of the others before becomes one
 * of them where its job ends, so they are looked at before and after.
 */
async function heldManifests(catalog: Catalog, at: number): Promise<Set<string>> {
  const held = new Set<string>()
  const add = (manifests: Iterable<string>) => {
    for (const manifest of manifests) held.add(manifest)
  }
  const addThoseOfRows = () =>
    catalog.snapshot(async ({ images, volumes, pins }) => {
      add(await images.listManifests())
      add(await volumes.listManifests())
      add(await pins.listManifests(at))
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
  return payload.source === 'volume' && payload.manifest !== undefined ? [payload.manifest] : []
}
