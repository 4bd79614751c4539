import { KiB, type RandomBytes } from '#base/bytes.ts'
import { assert, LibraryError } from '#base/errors.ts'
import type { Digest } from '../store.ts'
import type { ObjectPart, S3Objects } from './objects.ts'
import type { S3Files } from './s3-files.ts'

/** Read with one request: the whole of most manifests, a dozen pages of the others. */
const WINDOW = 256 * KiB

/**
 * Opens a manifest by reading its first window, which is all of it up to 7 GiB of data; of a longer one, a window is
 * held at a time. What is removed meanwhile is found where it was moved aside, and stays there for longer than an hour.
 * @throws not_found
 */
export async function openManifest(
  files: S3Files,
  objects: S3Objects,
  digest: Digest,
): Promise<RandomBytes & AsyncDisposable> {
  const load = async (offset: number): Promise<ObjectPart> => {
    const found = await files.find(digest, (key) => objects.getPart(key, offset, WINDOW))
    if (found) return found
    throw files.missing('open', digest)
  }
  const first = await load(0)
  const { size } = first
  let held: { readonly offset: number; readonly part: Promise<ObjectPart> } = {
    offset: 0,
    part: Promise.resolve(first),
  }

  /** The window that has the byte at `offset`; those who ask for the same one wait for the same request. */
  async function windowAt(offset: number): Promise<Buffer> {
    const start = Math.floor(offset / WINDOW) * WINDOW
    if (held.offset !== start) held = { offset: start, part: load(start) }
    const { part } = held
    try {
      const { bytes, size: now } = await part
      if (now === size) return bytes
    } catch (error) {
      if (held.part === part) held = { offset: Number.NaN, part }
      throw error
    }
    throw new LibraryError('corrupt', `read manifest ${digest}: its length changed`)
  }

  return {
    size,
    async readAt(target, offset) {
      const length = Math.max(0, Math.min(target.length, size - offset))
      for (let done = 0; done < length; ) {
        const at = offset + done
        const window = (await windowAt(at)).subarray(at % WINDOW, (at % WINDOW) + length - done)
        assert(window.length > 0, 'a window has the byte that it was loaded for')
        target.set(window, done)
        done += window.length
      }
      return length
    },
    async [Symbol.asyncDispose]() {},
  }
}
