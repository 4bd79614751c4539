import type { Tables } from '#control/catalog/catalog.ts'
import type { CheckRoot } from '#data/disk/check-findings.ts'

/** Rows that are read at a time. */
const PAGE = 1000

type Named = Pick<Tables, 'accounts' | 'images' | 'objects' | 'pins' | 'servers' | 'volumes'>

/** The manifests that must be readable, by the images, objects and servers that need them. */
export async function* nameRoots(catalog: Named): AsyncGenerator<CheckRoot> {
  const { images, pins, objects } = catalog
  const unnamed = new Set([...(await images.listManifests()), ...(await pins.listManifests())])
  for (const { id: accountId } of await catalog.accounts.list()) {
    for (const { id, manifest } of await images.listReadable(accountId)) {
      unnamed.delete(manifest)
      const image = await images.find(id)
      yield { manifest, what: `${id} (${image?.name})` }
    }
  }
  for await (const root of nameServers(catalog)) {
    unnamed.delete(root.manifest)
    yield root
  }
  for (let page = await objects.listRoots(undefined, PAGE); page.length > 0; ) {
    for (const { manifest, accountId, container, object } of page) {
      unnamed.delete(manifest)
      yield { manifest, what: `${accountId}/${container}/${object}` }
    }
    page = await objects.listRoots(page.at(-1), PAGE)
  }
  for (const manifest of unnamed) yield { manifest, what: 'something that is being read or destroyed' }
}

/** Servers whose volumes do not stand alone yet: they read what their base does not have from the image. */
async function* nameServers(catalog: Named): AsyncGenerator<CheckRoot> {
  const servers = await catalog.servers.listExisting()
  const volumes = await catalog.volumes.ofServers(servers.map(({ id }) => id))
  const names = new Map(servers.map(({ id, name }) => [id, name]))
  for (const { serverId, manifest, standsAlone } of volumes) {
    const name = names.get(serverId)
    if (!standsAlone && name !== undefined) yield { manifest, what: `${serverId} (${name})` }
  }
}
