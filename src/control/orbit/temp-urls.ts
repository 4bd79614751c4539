import type { Metadata } from '#model/orbit.ts'
import { KEY_NAMES } from './access.ts'
import type { OrbitDeps } from './deps.ts'
import type { Orbit } from './orbit.ts'
import { isSignedBy, parseTempUrl } from './temp-url-signature.ts'

/** Verifies temporary URLs by the keys of accounts, which open all containers, and of containers, which open these. */
export function createTempUrls({ catalog, now }: Pick<OrbitDeps, 'catalog' | 'now'>): Orbit['tempUrls'] {
  return {
    async verify(request) {
      const url = parseTempUrl(request, now() / 1000)
      if (!url) return undefined
      const { account: accountId, container } = url
      const access = request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'write'
      const account = await catalog.orbitAccounts.find(accountId)
      if (keysOf(account?.metadata).some((key) => isSignedBy(key, url)))
        return { accountId, container: undefined, access }
      const found = await catalog.containers.find(accountId, container)
      if (keysOf(found?.metadata).some((key) => isSignedBy(key, url))) return { accountId, container, access }
      return undefined
    },
  }
}

/** Keys are bytes; in metadata there is one character for each. */
function keysOf(metadata: Metadata = {}): Buffer[] {
  return KEY_NAMES.flatMap((name) => (metadata[name] ? Buffer.from(metadata[name], 'latin1') : []))
}
