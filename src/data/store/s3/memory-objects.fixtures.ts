import type { S3Objects } from './objects.ts'

interface Held {
  readonly bytes: Buffer
  readonly generation: number
  readonly at: number
}

/** An object store that forgets everything with the process, and whose clock is moved by hand. */
export interface MemoryObjects extends S3Objects {
  readonly keys: () => string[]
  /** Changes bytes without anybody's knowledge. */
  damage(key: string): void
  pass(ms: number): void
}

export function memoryObjects(): MemoryObjects {
  const held = new Map<string, Held>()
  let now = 0
  const keep = (key: string, bytes: Uint8Array, generation: number) =>
    void held.set(key, { bytes: Buffer.from(bytes), generation, at: now })
  return {
    keys: () => [...held.keys()].sort(),
    damage(key) {
      const found = held.get(key)
      if (found)
        keep(
          key,
          found.bytes.map((byte, at) => (at === 12 ? byte ^ 1 : byte)),
          found.generation,
        )
    },
    pass(ms) {
      now += ms
    },
    async put(key, bytes, generation) {
      keep(key, bytes, generation)
    },
    async putStream(key, parts, generation) {
      keep(key, Buffer.concat(await Array.fromAsync(parts, (part) => Buffer.from(part))), generation)
    },
    async get(key) {
      const found = held.get(key)
      return found && Buffer.from(found.bytes)
    },
    async getPart(key, offset, length) {
      const found = held.get(key)
      return found && { bytes: found.bytes.subarray(offset, offset + length), size: found.bytes.length }
    },
    async head(key) {
      const found = held.get(key)
      return found && { size: found.bytes.length, generation: found.generation }
    },
    async copy(from, to) {
      const found = held.get(from)
      if (found) keep(to, found.bytes, found.generation)
      return found !== undefined
    },
    async delete(key) {
      held.delete(key)
    },
    async *list(prefix, after = '') {
      for (const key of [...held.keys()].sort()) {
        const found = held.get(key)
        if (!found || !key.startsWith(prefix) || key <= after) continue
        yield { key, size: found.bytes.length, ageMs: now - found.at }
      }
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** How long a request of the game may be on its way, in its own milliseconds. */
export const LATEST_MS = 60

/**
 * The same as others see it over a network: each request waits for its turn on the way there and back, a copy is read
 * at one moment and written at another, a list is made page by page, and what was deleted may be deleted once more by a
 * request that was thought to be lost.
 */
export function remoteObjects(
  objects: S3Objects,
  turn: () => Promise<void>,
  chance: (share: number) => boolean,
): S3Objects {
  const taking = async <T>(call: () => Promise<T>): Promise<T> => {
    await turn()
    const result = await call()
    await turn()
    return result
  }
  const late = async (call: () => Promise<unknown>) => {
    for (let wait = 0; wait < LATEST_MS / 2; wait++) await turn()
    await call()
  }
  return {
    put: (key, bytes, generation) => taking(() => objects.put(key, bytes, generation)),
    async putStream(key, parts, generation) {
      const bytes = Buffer.concat(await Array.fromAsync(parts, (part) => Buffer.from(part)))
      await taking(() => objects.put(key, bytes, generation))
    },
    get: (key, limit) => taking(() => objects.get(key, limit)),
    getPart: (key, offset, length) => taking(() => objects.getPart(key, offset, length)),
    head: (key) => taking(() => objects.head(key)),
    copy: (from, to) =>
      taking(async () => {
        const [head, bytes] = [await objects.head(from), await objects.get(from, Number.POSITIVE_INFINITY)]
        if (!head || !bytes) return false
        await turn()
        await objects.put(to, bytes, head.generation)
        return true
      }),
    async delete(key) {
      if (chance(0.1)) void late(() => objects.delete(key))
      await taking(() => objects.delete(key))
    },
    async *list(prefix, after) {
      await turn()
      for await (const object of objects.list(prefix, after)) {
        if (chance(0.3)) await turn()
        yield object
      }
    },
    async [Symbol.asyncDispose]() {},
  }
}
