import type { Catalog } from '#control/catalog/catalog.ts'
import type { Caller, ContainerPath } from '#model/orbit.ts'
import { denied } from './access.ts'
import type { Orbit } from './orbit.ts'

/**
 * What lies in an account that was suspended or closed is to others as if there were no such account, whatever its
 * access lists and temporary URLs say. Its own people have been turned away where they said who they are.
 */
export function withAccounts(orbit: Orbit, { accounts }: Pick<Catalog, 'accounts'>): Orbit {
  const isOpen = async (id: string) => (await accounts.find(id))?.status === 'active'
  const enter = async ({ session }: Caller, { account }: Pick<ContainerPath, 'account'>) => {
    if (session?.accountId !== account && !(await isOpen(account))) throw denied()
  }
  const inside =
    <Path extends ContainerPath, Rest extends unknown[], Result>(
      act: (caller: Caller, path: Path, ...rest: Rest) => Promise<Result>,
    ) =>
    async (caller: Caller, path: Path, ...rest: Rest): Promise<Result> => {
      await enter(caller, path)
      return act(caller, path, ...rest)
    }
  const { containers, objects, tempUrls } = orbit
  return {
    ...orbit,
    containers: {
      put: inside(containers.put),
      update: inside(containers.update),
      remove: inside(containers.remove),
      show: inside(containers.show),
      list: inside(containers.list),
      facts: async (path) => ((await isOpen(path.account)) ? containers.facts(path) : undefined),
    },
    objects: {
      ...objects,
      beginPut: inside(objects.beginPut),
      hold: inside(objects.hold),
      publish: inside(objects.publish),
      putStatic: inside(objects.putStatic),
      update: inside(objects.update),
      remove: inside(objects.remove),
      removeStatic: inside(objects.removeStatic),
      show: inside(objects.show),
      showStatic: inside(objects.showStatic),
      locate: inside(objects.locate),
      async copy(caller, from, to, options) {
        await enter(caller, from)
        await enter(caller, to)
        return objects.copy(caller, from, to, options)
      },
      async rename(caller, from, to, options) {
        await enter(caller, from)
        await enter(caller, to)
        return objects.rename(caller, from, to, options)
      },
    },
    tempUrls: {
      async verify(request) {
        const grant = await tempUrls.verify(request)
        return grant && (await isOpen(grant.accountId)) ? grant : undefined
      },
    },
  }
}
