import { createAccounts } from './accounts.ts'
import { createContainers } from './containers.ts'
import type { OrbitDeps } from './deps.ts'
import { createExpiry } from './expiry.ts'
import { createLargeObjects } from './large-objects.ts'
import { createObjects } from './objects.ts'
import type { Orbit } from './orbit.ts'
import { createUploads } from './uploads.ts'

/** Joins the parts of Orbit. It does nothing by itself. */
export function createOrbit(deps: OrbitDeps): Orbit {
  const expiry = createExpiry(deps)
  const large = createLargeObjects(deps)
  const later = () => {
    throw new Error('internal error: not here yet')
  }
  return {
    accounts: createAccounts({ deps, expiry }),
    containers: createContainers({ deps, expiry }),
    objects: {
      ...createUploads({ deps, expiry }),
      ...createObjects({ deps, large }),
      putStatic: later,
      removeStatic: later,
      showStatic: later,
      copy: later,
      rename: later,
    },
    tempUrls: { verify: later },
    expire: (signal) => expiry.removeDue(undefined, signal),
  }
}
