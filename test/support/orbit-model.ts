import assert from 'node:assert/strict'
import { createHash, randomFillSync } from 'node:crypto'

/** What stands, or stood, under a name. */
export interface Version {
  readonly id: number
  readonly size: number
  readonly md5: string
  /** Seconds since 1970. */
  readonly deleteAt: number | undefined
}

/** From just before a request was sent to just after its answer came: in ticks of the model, and in ms since 1970. */
export interface Window {
  readonly from: number
  readonly to: number
  readonly began: number
  readonly ended: number
}

interface Change {
  /** Undefined where it is removed. */
  readonly version: Version | undefined
  readonly began: number
  /** Undefined while the answer is outstanding. */
  done: number | undefined
}

const POOL = randomFillSync(Buffer.alloc(8 << 20))
/** Every so many versions have their bytes in common, as copies of one file do. */
const SHARED = 5

/** The bytes of a version; no two are alike anywhere, except those that are meant to be. */
export function bytesOf({ id, size }: Pick<Version, 'id' | 'size'>): Buffer {
  const offset = ((id % SHARED === 0 ? 1 : id) * 104_729) % (POOL.length - size)
  return POOL.subarray(offset, offset + size)
}

/**
 * What objects may be seen as while clients are at work. Changes of one name come one after another, reads whenever
 * they like: a read may see what stood when it began, and whatever was begun before it ended.
 */
export class ObjectModel {
  readonly #changes = new Map<string, Change[]>()
  readonly #turns = new Map<string, Promise<unknown>>()
  #ticks = 0
  #lastId: number

  /** Versions are numbered from the next on. */
  constructor(lastId = 0) {
    this.#lastId = lastId
  }

  newVersion(size: number, deleteAt: number | undefined): Version {
    const id = ++this.#lastId
    const md5 = createHash('md5').update(bytesOf({ id, size })).digest('hex')
    return { id, size, md5, deleteAt }
  }

  /** Does what changes these names once earlier changes of them are through. */
  change(names: readonly string[], work: () => Promise<void>): Promise<void> {
    const turn = Promise.all(names.map((name) => this.#turns.get(name))).then(work)
    for (const name of names) this.#turns.set(name, turn)
    return turn
  }

  /** Says that this will stand under the name; `done` when the answer is there, `retract` when it was refused. */
  begin(name: string, version: Version | undefined): { done: () => void; retract: () => void } {
    const change: Change = { version, began: this.tick(), done: undefined }
    const changes = this.#changes.get(name) ?? [{ version: undefined, began: 0, done: 0 }]
    this.#changes.set(name, [...changes, change])
    return {
      done: () => {
        change.done = this.tick()
      },
      retract: () => void this.#changes.set(name, changes),
    }
  }

  /** What stands there, whether or not its time has come. */
  now(name: string): Version | undefined {
    return this.#changes.get(name)?.at(-1)?.version
  }

  names(): string[] {
    return [...this.#changes.keys()]
  }

  tick(): number {
    return ++this.#ticks
  }

  /** Checks that what was seen under a name, undefined for nothing, may have been. @returns the version that it is */
  assertSeen(
    name: string,
    window: Window,
    seen: ((version: Version) => boolean) | undefined,
  ): Version | undefined {
    const changes = this.#changes.get(name) ?? [{ version: undefined, began: 0, done: 0 }]
    const visible = changes.filter(({ began }, at) => {
      const replaced = changes[at + 1]?.done
      return began < window.to && (replaced === undefined || replaced > window.from)
    })
    const fitting = visible.find(({ version }) => {
      if (version === undefined) return seen === undefined
      return seen === undefined ? mayBeGone(version, window) : mayStand(version, window) && seen(version)
    })
    const told = visible.map(({ version }) => version?.id ?? 'nothing').join(' or ')
    assert.ok(fitting, `${name}: ${seen === undefined ? 'nothing' : 'something else'} was seen, not ${told}`)
    return fitting.version
  }
}

/** Whether its time may have come before the answer. */
export const mayBeGone = ({ deleteAt }: Version, { ended }: Window): boolean =>
  deleteAt !== undefined && ended >= deleteAt * 1000

/** Whether it may still have been there. */
export const mayStand = ({ deleteAt }: Version, { began }: Window): boolean =>
  deleteAt === undefined || began < deleteAt * 1000
