import type { OrbitDeps } from './deps.ts'

/** What is read, and the manifests that it needs. */
export interface Needing<T> {
  readonly value: T
  readonly manifests: readonly string[]
}

/**
 * Reads something so that collection leaves what it needs alone until it is disposed of: what is read has to need the
 * same after its manifests were pinned, or it is read once more.
 */
export async function readPinned<T>(
  { acquirePins }: Pick<OrbitDeps, 'acquirePins'>,
  read: () => Promise<Needing<T>>,
): Promise<{ readonly value: T } & AsyncDisposable> {
  for (let found = await read(); ; ) {
    await using pins = new AsyncDisposableStack()
    const pinned = new Set(found.manifests)
    if (pinned.size > 0) pins.use(await acquirePins(pinned))
    const again = pinned.size === 0 ? found : await read()
    if (again.manifests.every((manifest) => pinned.has(manifest))) {
      const held = pins.move()
      return { value: again.value, [Symbol.asyncDispose]: () => held.disposeAsync() }
    }
    found = again
  }
}
