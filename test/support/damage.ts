import { copyFile, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What becomes of stored files on disks that grow old, and in the hands of people. */
export interface Damage {
  readonly name: string
  /** @param other the path of a sound file of the same kind */
  readonly apply: (path: string, other: string) => Promise<void>
}

const flip = (name: string, at: (length: number) => number): Damage => ({
  name,
  async apply(path) {
    const bytes = await readFile(path)
    const place = at(bytes.length)
    bytes[place] = (bytes[place] ?? 0) ^ 0x10
    await writeFile(path, bytes)
  },
})

/** Every manner of damage, one by one; each changes what is read of a stored block. */
export const DAMAGES: readonly Damage[] = [
  flip('a byte of its payload differs', (length) => Math.floor(length / 2)),
  flip('its first byte of payload differs', () => 4),
  flip('its size word differs', () => 1),
  flip('its checksum differs', (length) => length - 1),
  {
    name: 'it is cut short',
    apply: async (path) => truncate(path, (await readFile(path)).length - 7),
  },
  { name: 'it has more bytes', apply: async (path) => writeFile(path, Buffer.alloc(9), { flag: 'a' }) },
  { name: 'it is empty', apply: (path) => truncate(path, 0) },
  { name: 'it is gone', apply: (path) => rm(path) },
  { name: 'it is another block', apply: (path, other) => copyFile(other, path) },
  {
    name: 'it has zeros instead',
    apply: async (path) => writeFile(path, Buffer.alloc((await readFile(path)).length)),
  },
  {
    name: 'it cannot be read',
    async apply(path) {
      await rm(path)
      await mkdir(path)
    },
  },
]

/** Where a store on a file system keeps a file. */
export const storedPath = (store: string, kind: 'blocks' | 'manifests', digest: string): string =>
  join(store, kind, digest.slice(0, 2), digest)
