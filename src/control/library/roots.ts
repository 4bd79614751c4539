import type { Catalog } from '#control/catalog/catalog.ts'
import { REGISTRATION } from './deps.ts'
import type { Roots } from './library.ts'

/** File times come from a clock that ticks more coarsely than ours, so they may lie this much before it. */
const CLOCK_GRAIN_MS = 20

/** Everything that a collection that starts now must leave alone. */
export async function readRoots(catalog: Catalog, now: () => number): Promise<Roots> {
  const at = now()
  // Jobs before images: a registration that ends in between is then seen in both, and never in neither.
  const unclaimedSince = Math.min(at, (await catalog.jobs.firstStart(REGISTRATION)) ?? at)
  await catalog.relaxed((tables) => tables.pins.removeExpired(at))
  const manifests = new Set(await catalog.images.listManifests())
  for (const manifest of await catalog.pins.listManifests(at)) manifests.add(manifest)
  return { manifests, unclaimedSince: unclaimedSince - CLOCK_GRAIN_MS }
}
