import type { Content } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import type { Layout } from '#data/form/pieces.ts'

type Stored = Extract<Content, { kind: 'manifest' }>
type OpenLayout = Layout & AsyncDisposable
export type OpenStored = (content: Stored) => Promise<OpenLayout>

/**
 * Forms that stay open though nobody uses them now: a last piece may still be loading when its form's pieces are all
 * known, and the next read often wants the same.
 */
const IDLE = 2

interface Entry {
  readonly opening: Promise<OpenLayout>
  users: number
}

/** The stored contents that one reader reads, opened as they are first used. */
export class OpenForms implements AsyncDisposable {
  readonly #open: OpenStored
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>()

  constructor(open: OpenStored) {
    this.#open = open
  }

  /** @throws not_found, corrupt */
  async use(content: Stored): Promise<AsyncDisposable & { readonly layout: Layout }> {
    const key = `${content.form} ${content.manifest}`
    const entry = this.#entries.get(key) ?? { opening: this.#open(content), users: 0 }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    entry.users++
    try {
      const layout = await entry.opening
      if (layout.size !== content.size)
        throw new LibraryError(
          'corrupt',
          `read ${key}: it has ${layout.size} bytes instead of ${content.size}`,
        )
      return { layout, [Symbol.asyncDispose]: () => this.#leave(entry) }
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
      throw error
    }
  }

  async #leave(entry: Entry): Promise<void> {
    entry.users--
    let idle = 0
    for (const [key, { users, opening }] of [...this.#entries].reverse()) {
      if (users > 0 || ++idle <= IDLE) continue
      this.#entries.delete(key)
      await close(opening)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const { opening } of entries) await close(opening)
  }
}

async function close(opening: Promise<OpenLayout>): Promise<void> {
  const layout = await opening.catch(() => undefined)
  await layout?.[Symbol.asyncDispose]()
}
