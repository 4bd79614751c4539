import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Library } from '#control/library/library.ts'
import { createServers } from '#control/servers/create-servers.ts'
import { createHypervisor } from '#control/servers/qemu/hypervisor.ts'
import type { Servers } from '#control/servers/servers.ts'
import type { OpenContentStore } from '#data/content/create-content-store.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import { createLayer } from '#data/volume/create-layer.ts'
import { fillBase } from '#data/volume/fill-base.ts'
import { createOffer } from '#edge/nbd/offer.ts'
import type { Config } from './config.ts'

export interface ServerParts {
  readonly config: Config
  readonly log: Logger
  readonly catalog: Catalog
  readonly library: Library
  readonly store: Store
  readonly contents: OpenContentStore
  readonly reserve: Reserve
}

/** Puts the servers together: QEMU below, the library's images as their disks. Nothing runs before `begin`. */
export function wireServers({
  config,
  log,
  catalog,
  library,
  store,
  contents,
  reserve,
}: ServerParts): Servers {
  const folder = join(config.data, 'servers')
  const { accelerator, fillRate, ...settings } = config.servers
  return createServers({
    catalog,
    library,
    hypervisor: createHypervisor({ folder, accelerator, log }),
    createLayer,
    fillBase: (options) =>
      fillBase({
        ...options,
        manifests: store.manifests,
        loader: contents.loader,
        rate: fillRate,
        reserve,
      }),
    offer: createOffer({ openDisk: contents.openDisk, log }),
    folder,
    settings,
    now: Date.now,
    random: randomBytes,
    log,
  })
}
