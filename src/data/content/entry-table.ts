import { DIGEST_SIZE, ENTRY_SIZE, PAGE_BLOCKS, PAGE_SIZE, readU32 } from '#data/manifest/layout.ts'
import type { Manifest } from '#data/manifest/manifest.ts'
import { type ManifestEntry, writeEntry } from '#data/manifest/page.ts'
import type { ManifestWriter } from '#data/manifest/writer.ts'

/**
 * The blocks of a disk that changes: those of a manifest, but for pages in which a block is another one by now, which
 * are held in memory (18 KiB for 512 MiB of disk).
 */
export class EntryTable implements AsyncDisposable {
  readonly #base: Manifest | undefined
  /** Blocks of the base that still count. */
  #baseBlocks: number
  readonly #pages = new Map<number, Promise<Buffer>>()

  constructor(base: Manifest | undefined) {
    this.#base = base
    this.#baseBlocks = base?.blockCount ?? 0
  }

  /** Undefined for a zero block. */
  async get(index: number): Promise<ManifestEntry | undefined> {
    const page = this.#pages.get(Math.floor(index / PAGE_BLOCKS))
    if (page !== undefined) return entryAt(await page, index % PAGE_BLOCKS)
    return index < this.#baseBlocks ? await this.#base?.entry(index) : undefined
  }

  async set(index: number, entry: ManifestEntry | undefined): Promise<void> {
    const page = await this.#own(Math.floor(index / PAGE_BLOCKS))
    const place = index % PAGE_BLOCKS
    if (entry) writeEntry(page, place, entry)
    else page.fill(0, place * ENTRY_SIZE, (place + 1) * ENTRY_SIZE)
  }

  /** Makes zero blocks of all from `blocks` on. */
  async cut(blocks: number): Promise<void> {
    this.#baseBlocks = Math.min(this.#baseBlocks, blocks)
    for (const [number, page] of this.#pages) {
      const kept = blocks - number * PAGE_BLOCKS
      if (kept <= 0) this.#pages.delete(number)
      else if (kept < PAGE_BLOCKS) (await page).fill(0, kept * ENTRY_SIZE)
    }
  }

  async copyTo(writer: ManifestWriter): Promise<void> {
    for await (const { index, digest, storedLength } of this.#base?.entries() ?? []) {
      if (index >= this.#baseBlocks) break
      if (!this.#pages.has(Math.floor(index / PAGE_BLOCKS))) await writer.set(index, digest, storedLength)
    }
    for (const [number, page] of this.#pages) {
      const bytes = await page
      for (let place = 0; place < PAGE_BLOCKS; place++) {
        const entry = entryAt(bytes, place)
        if (entry) await writer.set(number * PAGE_BLOCKS + place, entry.digest, entry.storedLength)
      }
    }
  }

  #own(number: number): Promise<Buffer> {
    const known = this.#pages.get(number)
    if (known !== undefined) return known
    const copying = this.#copyPage(number)
    this.#pages.set(number, copying)
    // A page that could not be read may be asked for again.
    copying.catch(() => this.#pages.delete(number))
    return copying
  }

  async #copyPage(number: number): Promise<Buffer> {
    const copy = Buffer.alloc(PAGE_SIZE)
    const first = number * PAGE_BLOCKS
    if (!this.#base || first >= this.#baseBlocks) return copy
    const page = await this.#base.page(number)
    for (let index = first; index < Math.min(first + page.count, this.#baseBlocks); index++) {
      const entry = page.entry(index)
      if (entry) writeEntry(copy, index - first, entry)
    }
    return copy
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#base?.[Symbol.asyncDispose]()
  }
}

function entryAt(page: Buffer, place: number): ManifestEntry | undefined {
  const offset = place * ENTRY_SIZE
  const storedLength = readU32(page, offset + DIGEST_SIZE)
  if (storedLength === 0) return undefined
  return { digest: page.toString('hex', offset, offset + DIGEST_SIZE), storedLength }
}
