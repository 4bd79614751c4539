import type { Caller, ContainerPath } from '#model/orbit.ts'
import { demand, imagesFacts } from './access.ts'
import type { ImagesContainer } from './images-container.ts'
import type { Orbit } from './orbit.ts'

/** Reads of the images container are answered by it, and whatever would change it is refused. */
export function withImages(stored: Orbit, images: ImagesContainer): Orbit {
  /** Denied to everybody, where it is the images container. */
  const refuse = async (caller: Caller, path: ContainerPath) => {
    if (await images.covers(path)) demand(caller, { action: 'write', container: imagesFacts(path) })
  }
  const writes =
    <Path extends ContainerPath, Rest extends unknown[], Result>(
      act: (caller: Caller, path: Path, ...rest: Rest) => Promise<Result>,
    ) =>
    async (caller: Caller, path: Path, ...rest: Rest): Promise<Result> => {
      await refuse(caller, path)
      return act(caller, path, ...rest)
    }
  const { containers, objects } = stored
  return {
    ...stored,
    containers: {
      put: writes(containers.put),
      update: writes(containers.update),
      remove: writes(containers.remove),
      async show(caller, path) {
        return (await images.covers(path)) ? images.show(caller, path) : containers.show(caller, path)
      },
      async list(caller, path, query) {
        const { list } = (await images.covers(path)) ? images : containers
        return list(caller, path, query)
      },
      async facts(path) {
        return (await images.covers(path)) ? { metadata: {} } : containers.facts(path)
      },
    },
    objects: {
      ...objects,
      beginPut: writes(objects.beginPut),
      hold: writes(objects.hold),
      publish: writes(objects.publish),
      putStatic: writes(objects.putStatic),
      update: writes(objects.update),
      remove: writes(objects.remove),
      removeStatic: writes(objects.removeStatic),
      async show(caller, path, options) {
        return (await images.covers(path))
          ? images.showObject(caller, path)
          : objects.show(caller, path, options)
      },
      async locate(caller, path, options) {
        return (await images.covers(path))
          ? images.locate(caller, path)
          : objects.locate(caller, path, options)
      },
      async copy(caller, from, to, options) {
        await refuse(caller, to)
        return objects.copy(caller, from, to, options)
      },
      async rename(caller, from, to, options) {
        await refuse(caller, from)
        await refuse(caller, to)
        return objects.rename(caller, from, to, options)
      },
    },
  }
}
