import { LibraryError } from '#base/errors.ts'
import { isDamage, isWrong } from '#data/store/storage-errors.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { walkManifest } from './walk-manifest.ts'

/** Something that needs a manifest, in words that an operator knows: an image's id and name. */
export interface CheckRoot {
  readonly manifest: Digest
  readonly what: string
}

/** A stored file that is not what its name says, or that is not there although it is needed. */
export interface Finding {
  readonly kind: 'manifest' | 'block'
  readonly digest: Digest
  readonly why: string
  /** The roots that cannot be read wholly because of it, at most HURTS_MAX of them. */
  readonly hurts: readonly string[]
}

export interface Findings {
  readonly damaged: readonly Finding[]
  readonly missing: readonly Finding[]
  /** More was found than is listed; mend these and check again. */
  readonly truncated: boolean
}

export interface CheckReport extends Findings {
  /** Sound files that were read, and their bytes at rest. */
  readonly manifests: number
  readonly blocks: number
  readonly bytes: number
}

const FINDINGS_MAX = 10_000
const HURTS_MAX = 100

type Kind = Finding['kind']

interface Draft {
  readonly kind: Kind
  readonly digest: Digest
  readonly why: string
  readonly isMissing: boolean
  /** It was read, and is not what its name says. */
  readonly isWrong: boolean
  readonly hurts: Set<string>
}

/** What a check found, at most FINDINGS_MAX. */
export class CheckFindings {
  /** By kind and digest: a block may hold the very bytes of a manifest, and then both have one name. */
  readonly #drafts = new Map<string, Draft>()
  readonly #hurtsMax: number
  #truncated = false

  /** @param hurtsMax roots that are named of each finding */
  constructor(hurtsMax = HURTS_MAX) {
    this.#hurtsMax = hurtsMax
  }

  get isEmpty(): boolean {
    return this.#drafts.size === 0
  }

  has(kind: Kind, digest: Digest): boolean {
    return this.#drafts.has(kind + digest)
  }

  /** Files an error that speaks of one file; any other is thrown again. */
  add(kind: Kind, digest: Digest, error: unknown): void {
    const isMissing = error instanceof LibraryError && error.code === 'not_found'
    if (!(error instanceof Error) || !(isMissing || isDamage(error))) throw error
    if (this.#drafts.size === FINDINGS_MAX) this.#truncated = true
    else {
      const wrong = !isMissing && isDamage(error) && isWrong(error)
      const draft = { kind, digest, why: error.message, isMissing, isWrong: wrong, hurts: new Set<string>() }
      this.#drafts.set(kind + digest, draft)
    }
  }

  /** Those that were read, and are not what their names say; what cannot be read today may be sound tomorrow. */
  wrong(): readonly { readonly kind: Kind; readonly digest: Digest }[] {
    return [...this.#drafts.values()].filter((draft) => draft.isWrong)
  }

  /** Finds the roots that each finding hurts; what is missing and hurts none was removed by a collection meanwhile. */
  async explain(deps: {
    store: Store
    roots: () => AsyncIterable<CheckRoot>
    signal: AbortSignal
  }): Promise<Findings> {
    if (this.#drafts.size > 0) for await (const root of deps.roots()) await this.#explainRoot(root, deps)
    const findings = { damaged: [] as Finding[], missing: [] as Finding[], truncated: this.#truncated }
    for (const { kind, digest, why, isMissing, hurts } of this.#drafts.values()) {
      const finding = { kind, digest, why, hurts: [...hurts] }
      if (!isMissing) findings.damaged.push(finding)
      else if (hurts.size > 0) findings.missing.push(finding)
    }
    return findings
  }

  async #explainRoot({ manifest, what }: CheckRoot, deps: { store: Store; signal: AbortSignal }) {
    if (this.#hurt('manifest', manifest, what)) return
    try {
      for await (const { digest } of walkManifest(deps.store.manifests, manifest, deps.signal))
        this.#hurt('block', digest, what)
    } catch (error) {
      // It became a root after the manifests were read, and is damaged.
      this.add('manifest', manifest, error)
      this.#hurt('manifest', manifest, what)
    }
  }

  #hurt(kind: Kind, digest: Digest, what: string): boolean {
    const draft = this.#drafts.get(kind + digest)
    if (draft && draft.hurts.size < this.#hurtsMax) draft.hurts.add(what)
    return draft !== undefined
  }
}
