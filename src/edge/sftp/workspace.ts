import type { ContentStore } from '#data/content/content.ts'
import type { SetAttributes, ShownAttributes } from './attributes.ts'
import type { DirectoryEntry } from './directory.ts'
import { FileRoom } from './file-room.ts'
import { createFileTree, type FileTree, objectOf, type RenameOptions } from './file-tree.ts'
import { type Files, isMarker, type Located, MTIME, type ObjectName, type Usage } from './files.ts'
import type { Place } from './paths.ts'
import { failure, failureOf, noSuchFile } from './sftp-failure.ts'
import { printMtime, StagedFile, type StageOptions } from './staged-file.ts'
import { OPEN, STATUS } from './wire.ts'

export interface WorkspaceDeps {
  readonly files: Files
  readonly contents: ContentStore
  readonly now: () => number
  /** Ends what is being written, with its reason; a connection that ends does not. */
  readonly signal: AbortSignal
}

interface StageWish extends Pick<StageOptions, 'existed' | 'room'> {
  /** Whether what is there stays until it is written over. */
  readonly isKept: boolean
}

/**
 * The files of an account as one connection sees them: those of everybody, and before them those it is writing itself,
 * which are nobody else's business until they are published.
 */
export class Workspace {
  readonly #deps: WorkspaceDeps
  readonly #tree: FileTree
  readonly #stages = new Map<string, StagedFile>()

  constructor(deps: WorkspaceDeps) {
    this.#deps = deps
    this.#tree = createFileTree(deps.files)
  }

  async show(place: Place): Promise<ShownAttributes> {
    const stage = this.#stageAt(place)
    return stage ? shown(stage) : await this.#tree.show(place)
  }

  async *list(place: Place): AsyncGenerator<readonly DirectoryEntry[]> {
    const written = this.#stagesIn(place)
    for await (const page of await this.#tree.list(place)) {
      yield page.map((entry) => {
        const stage = written.get(entry.name)
        written.delete(entry.name)
        return stage && entry.attributes.kind === 'file'
          ? { name: entry.name, attributes: shown(stage) }
          : entry
      })
    }
    yield [...written].map(([name, stage]) => ({ name, attributes: shown(stage) }))
  }

  makeDirectory(place: Place): Promise<void> {
    if (this.#stageAt(place)) throw failure('File exists')
    return this.#tree.makeDirectory(place)
  }

  removeDirectory(place: Place): Promise<void> {
    if (this.#stagesIn(place).size > 0) throw failure('Directory not empty')
    return this.#tree.removeDirectory(place)
  }

  async removeFile(place: Place): Promise<void> {
    const stage = this.#stageAt(place)
    await ignoreMissing(this.#tree.removeFile(place), stage !== undefined)
    if (stage) this.#forget(stage)
  }

  async rename(from: Place, to: Place, options: RenameOptions): Promise<void> {
    const stage = this.#stageAt(from)
    const target = this.#stageAt(to)
    if (target && target !== stage && !options.replace) throw failure('File exists')
    if (stage && to.kind === 'inside' && !options.replace && (await this.#tree.find(to))) {
      throw failure('File exists')
    }
    await ignoreMissing(this.#tree.rename(from, to, options), stage !== undefined)
    if (!stage || to.kind !== 'inside' || target === stage) return
    if (target) this.#forget(target)
    this.#stages.delete(keyOf(stage.name))
    await stage.rename(objectOf(to))
    this.#stages.set(keyOf(stage.name), stage)
  }

  async set(place: Place, change: SetAttributes): Promise<void> {
    const { size, mtime } = change
    const stage = this.#stageAt(place)
    if (stage) return await setStage(stage, change)
    const now = await this.#tree.show(place)
    // Nothing of a directory can be set, nor modes and owners of anything; nobody is told so, or uploads would fail.
    if (now.kind === 'directory' || place.kind !== 'inside') return
    const name = objectOf(place)
    if (size !== undefined && size !== now.size) {
      const room = new FileRoom(this.#deps.files)
      await using changed = await this.#openStage(name, { existed: true, room, isKept: true })
      await changed.truncate(size)
      if (mtime !== undefined) changed.setMtime(mtime)
      await changed.publish()
    } else if (mtime !== undefined) {
      await this.#deps.files.setMetadata(name, MTIME, printMtime(mtime))
    }
  }

  /** What is read at the time of opening; a file that this connection is writing is read as it grows. */
  async openForReading(place: Place): Promise<StagedFile | Located> {
    if (place.kind !== 'inside') throw failure('Is a directory')
    const stage = this.#stageAt(place)
    if (stage) {
      stage.handles++
      return stage
    }
    const located = await this.#deps.files.locate(objectOf(place))
    if (!isMarker(located.info.contentType)) return located
    await this.#deps.files.release(located.lease)
    throw failure('Is a directory')
  }

  /** @param flags of OPEN, `write` among them */
  async openForWriting(place: Place, flags: number): Promise<StagedFile> {
    if (place.kind !== 'inside') throw failure('Is a directory')
    const open = this.#stageAt(place)
    if (open) {
      if (flags & OPEN.create && flags & OPEN.exclusive) throw failure('File exists')
      if (flags & OPEN.truncate) await open.truncate(0)
      open.handles++
      return open
    }
    const name = objectOf(place)
    const found = await this.#findForWriting(place, flags)
    const isKept = found === 'file' && !(flags & OPEN.truncate)
    const room = new FileRoom(this.#deps.files)
    await room.open(name)
    const stage = await this.#openStage(name, {
      existed: found === 'unknown' ? undefined : found === 'file',
      room,
      isKept,
    })
    stage.handles = 1
    this.#stages.set(keyOf(name), stage)
    return stage
  }

  /** A handle was closed by the client. */
  async closeStage(stage: StagedFile): Promise<void> {
    try {
      await stage.publish()
    } finally {
      await this.#drop(stage)
    }
  }

  /** A handle was left open by a connection that is gone. */
  async abandonStage(stage: StagedFile): Promise<void> {
    try {
      if (stage.handles === 1) await stage.abandon()
    } finally {
      await this.#drop(stage)
    }
  }

  usage(place: Place): Promise<Usage> {
    return this.#deps.files.usage(place.kind === 'root' ? undefined : place.container)
  }

  async #findForWriting(place: Extract<Place, { kind: 'inside' }>, flags: number) {
    let found: Awaited<ReturnType<FileTree['find']>> | 'unknown'
    try {
      found = await this.#tree.find(place)
    } catch (error) {
      // Who may write but not read is not told what is there.
      if (failureOf(error)?.code !== STATUS.permissionDenied || !(flags & OPEN.truncate)) throw error
      return 'unknown'
    }
    if (found?.kind === 'directory') throw failure('Is a directory')
    if (found && flags & OPEN.create && flags & OPEN.exclusive) throw failure('File exists')
    if (!found && !(flags & OPEN.create)) throw noSuchFile()
    return found ? 'file' : 'none'
  }

  async #openStage(name: ObjectName, { isKept, ...options }: StageWish): Promise<StagedFile> {
    const { files } = this.#deps
    await using failed = new AsyncDisposableStack()
    failed.use(options.room)
    const base = isKept ? await files.locate(name) : undefined
    if (base) failed.defer(() => files.release(base.lease))
    const stage = await StagedFile.open({ ...this.#deps, ...options, name, base })
    failed.move()
    return stage
  }

  #stageAt(place: Place): StagedFile | undefined {
    return place.kind === 'inside' ? this.#stages.get(keyOf(objectOf(place))) : undefined
  }

  /** Files being written directly in a directory, by the last part of their names. */
  #stagesIn(place: Place): Map<string, StagedFile> {
    const found = new Map<string, StagedFile>()
    if (place.kind === 'root') return found
    const prefix = place.kind === 'container' ? '' : `${place.name}/`
    for (const stage of this.#stages.values()) {
      const { container, object } = stage.name
      const name = object.slice(prefix.length)
      if (container === place.container && object.startsWith(prefix) && !name.includes('/'))
        found.set(name, stage)
    }
    return found
  }

  #forget(stage: StagedFile): void {
    stage.remove()
    this.#stages.delete(keyOf(stage.name))
  }

  async #drop(stage: StagedFile): Promise<void> {
    if (--stage.handles > 0) return
    const key = keyOf(stage.name)
    if (this.#stages.get(key) === stage) this.#stages.delete(key)
    await stage[Symbol.asyncDispose]()
  }
}

/** @param change as a client sends it */
export async function setStage(stage: StagedFile, { size, mtime }: SetAttributes): Promise<void> {
  if (size !== undefined) await stage.truncate(size)
  if (mtime !== undefined) stage.setMtime(mtime)
}

export const shown = (stage: StagedFile): ShownAttributes => ({
  kind: 'file',
  size: stage.size,
  mtime: stage.mtime,
})

const keyOf = ({ container, object }: ObjectName): string => `${container}/${object}`

/** @param isFine whether there is something else under that name */
async function ignoreMissing(asked: Promise<void>, isFine: boolean): Promise<void> {
  try {
    await asked
  } catch (error) {
    if (!isFine || failureOf(error)?.code !== STATUS.noSuchFile) throw error
  }
}
