import { createAccounts } from './accounts.ts'
import { createContainers } from './containers.ts'
import { createCopying } from './copying.ts'
import type { OrbitDeps } from './deps.ts'
import { createExpiry } from './expiry.ts'
import { createImagesContainer } from './images-container.ts'
import { createLargeObjects } from './large-objects.ts'
import { createObjects } from './objects.ts'
import type { Orbit } from './orbit.ts'
import { createStaticObjects } from './static-objects.ts'
import { createTempUrls } from './temp-urls.ts'
import { createUploads } from './uploads.ts'
import { withAccounts } from './with-accounts.ts'
import { withImages } from './with-images.ts'

/** Joins the parts of Orbit. It does nothing by itself. */
export function createOrbit(deps: OrbitDeps): Orbit {
  const expiry = createExpiry(deps)
  const large = createLargeObjects(deps)
  const images = createImagesContainer(deps)
  const uploads = createUploads({ deps, expiry })
  const objects = createObjects({ deps, large })
  const statics = createStaticObjects({ deps, large, remove: objects.remove })
  const { locate } = objects
  const { beginPut } = uploads
  const { putStatic } = statics
  const stored = {
    accounts: createAccounts({ deps, expiry, images }),
    containers: createContainers({ deps, expiry }),
    objects: {
      ...uploads,
      ...objects,
      ...statics,
      ...createCopying({ deps, large, images, locate, beginPut, putStatic }),
    },
    tempUrls: createTempUrls(deps),
    expire: (signal: AbortSignal) => expiry.removeDue(undefined, signal),
  }
  return withAccounts(withImages(stored, images), deps.catalog)
}
