import { LibraryError } from '#base/errors.ts'
import { verifyStored } from '#data/block/block.ts'
import type { Digest, Generation, Store, StoredFile } from './store.ts'

interface Held {
  readonly bytes: Uint8Array
  claimedIn: Generation
}

interface Time {
  generation: Generation
}

class HeldFiles {
  readonly #held = new Map<Digest, Held>()
  readonly #time: Time

  constructor(time: Time) {
    this.#time = time
  }

  async claim(digest: Digest): Promise<number | undefined> {
    const held = this.#held.get(digest)
    if (held) held.claimedIn = this.#time.generation
    return held?.bytes.length
  }

  keep(digest: Digest, bytes: Uint8Array): void {
    const held = this.#held.get(digest)
    if (held) held.claimedIn = this.#time.generation
    else this.#held.set(digest, { bytes, claimedIn: this.#time.generation })
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    return this.#held.get(digest)?.bytes.length
  }

  replace(digest: Digest, bytes: Uint8Array): void {
    this.#held.set(digest, { bytes, claimedIn: this.#time.generation })
  }

  find(digest: Digest): Uint8Array {
    const held = this.#held.get(digest)
    if (!held) throw new LibraryError('not_found', `open ${digest}`)
    return held.bytes
  }

  async remove(digest: Digest, unclaimedSince: Generation): Promise<boolean> {
    const held = this.#held.get(digest)
    return held !== undefined && held.claimedIn < unclaimedSince && this.#held.delete(digest)
  }

  async *list(after = ''): AsyncGenerator<StoredFile> {
    for (const digest of [...this.#held.keys()].sort()) {
      const held = this.#held.get(digest)
      if (held && digest > after) yield { digest, size: held.bytes.length, claimedIn: held.claimedIn }
    }
  }

  async quarantine(digest: Digest): Promise<void> {
    this.#held.delete(digest)
  }
}

class HeldBlocks extends HeldFiles {
  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    this.keep(digest, new Uint8Array(bytes))
  }

  async mend(digest: Digest, bytes: Uint8Array): Promise<void> {
    this.replace(digest, new Uint8Array(bytes))
  }

  async get(digest: Digest): Promise<Uint8Array> {
    const bytes = this.find(digest)
    verifyStored(bytes)
    return new Uint8Array(bytes)
  }

  async readInto(digest: Digest, target: Uint8Array): Promise<number> {
    const bytes = this.find(digest)
    target.set(bytes)
    return bytes.length
  }
}

class HeldManifests extends HeldFiles {
  async put(digest: Digest, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    this.keep(digest, await joined(parts))
  }

  async mend(digest: Digest, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    this.replace(digest, await joined(parts))
  }

  async open(digest: Digest) {
    const bytes = this.find(digest)
    return {
      size: bytes.length,
      async readAt(target: Uint8Array, offset: number): Promise<number> {
        const part = bytes.subarray(offset, offset + target.length)
        target.set(part)
        return part.length
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}

async function joined(parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const copies: Uint8Array[] = []
  for await (const part of parts) copies.push(new Uint8Array(part))
  return Buffer.concat(copies)
}

/** A store that forgets everything with the process, for tests. */
export function memoryStore(): Store {
  const time: Time = { generation: 1 }
  const blocks = new HeldBlocks(time)
  const manifests = new HeldManifests(time)
  return {
    blocks,
    manifests,
    generation: async () => time.generation,
    nextGeneration: async () => ++time.generation,
    async sync(only) {
      for (const digest of only?.blocks ?? []) blocks.find(digest)
      for (const digest of only?.manifests ?? []) manifests.find(digest)
    },
    async [Symbol.asyncDispose]() {},
  }
}
