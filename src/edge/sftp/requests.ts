import type { ContentStore } from '#data/content/content.ts'
import { attributeFields, longName, readAttributes, type ShownAttributes } from './attributes.ts'
import { copyData } from './copy-data.ts'
import { limitsFields, statvfsFields } from './extensions.ts'
import { type Files, mtimeOf } from './files.ts'
import { type Handle, type HandleCount, OpenHandles } from './open-handles.ts'
import type { Outlet } from './outlet.ts'
import { endsInSlash, type Place, parsePath, printPlace } from './paths.ts'
import { ReadHandle } from './read-handle.ts'
import { failure, failureOf, noSuchFile, SftpFailure, unsupported } from './sftp-failure.ts'
import { StagedFile } from './staged-file.ts'
import {
  attrsReply,
  dataReply,
  extendedReply,
  type FieldReader,
  handleReply,
  nameReply,
  OPEN,
  REQUEST,
  STATUS,
  statusReply,
  TRANSFER_MAX,
} from './wire.ts'
import { setStage, shown, Workspace } from './workspace.ts'

const NAMES_IN_REPLY = 100

export interface RequestsDeps {
  readonly files: Files
  readonly contents: ContentStore
  /** Where answers of reads and writes go, which come when they come. */
  readonly outlet: Outlet
  readonly onRefused: (id: number, error: unknown) => void
  readonly handles: HandleCount
  readonly now: () => number
  /** Ends files that are being read. */
  readonly ended: AbortSignal
  /** Ends files that are being written, too. */
  readonly signal: AbortSignal
}

type Request = (id: number, fields: FieldReader) => Promise<Buffer>

/** What each request of a channel does. */
export class Requests {
  readonly #deps: RequestsDeps
  readonly #workspace: Workspace
  readonly #handles: OpenHandles
  readonly #requests: ReadonlyMap<number, Request>
  readonly #extended: ReadonlyMap<string, Request>

  constructor(deps: RequestsDeps) {
    this.#deps = deps
    this.#workspace = new Workspace(deps)
    this.#handles = new OpenHandles(deps.handles)
    this.#requests = new Map<number, Request>([
      [REQUEST.open, (id, fields) => this.#open(id, fields)],
      [REQUEST.close, (id, fields) => this.#close(id, fields)],
      [REQUEST.lstat, (id, fields) => this.#stat(id, fields)],
      [REQUEST.stat, (id, fields) => this.#stat(id, fields)],
      [REQUEST.fstat, (id, fields) => this.#fstat(id, fields)],
      [REQUEST.setstat, (id, fields) => this.#setstat(id, fields)],
      [REQUEST.fsetstat, (id, fields) => this.#fsetstat(id, fields)],
      [REQUEST.opendir, (id, fields) => this.#opendir(id, fields)],
      [REQUEST.readdir, (id, fields) => this.#readdir(id, fields)],
      [REQUEST.remove, (id, fields) => this.#done(id, this.#workspace.removeFile(placeOf(fields)))],
      [REQUEST.mkdir, (id, fields) => this.#done(id, this.#workspace.makeDirectory(placeOf(fields)))],
      [REQUEST.rmdir, (id, fields) => this.#done(id, this.#workspace.removeDirectory(placeOf(fields)))],
      [REQUEST.rename, (id, fields) => this.#rename(id, fields, false)],
      [REQUEST.realpath, async (id, fields) => realpathReply(id, fields.bytes())],
      [REQUEST.readlink, async () => Promise.reject(failure('there are no links here'))],
    ])
    this.#extended = new Map<string, Request>([
      ['posix-rename@openssh.com', (id, fields) => this.#rename(id, fields, true)],
      ['statvfs@openssh.com', (id, fields) => this.#statvfs(id, placeOf(fields))],
      ['fstatvfs@openssh.com', (id, fields) => this.#statvfs(id, this.#handles.get(fields.bytes()).place)],
      ['fsync@openssh.com', (id, fields) => this.#fsync(id, fields)],
      ['lsetstat@openssh.com', (id, fields) => this.#setstat(id, fields)],
      ['limits@openssh.com', async (id) => extendedReply(id, limitsFields(deps.handles.max))],
      ['expand-path@openssh.com', async (id, fields) => realpathReply(id, withoutHome(fields.bytes()))],
      ['copy-data', (id, fields) => this.#copyData(id, fields)],
      ['home-directory', async (id) => realpathReply(id, Buffer.alloc(0))],
    ])
  }

  get hasOpenHandles(): boolean {
    return this.#handles.count > 0
  }

  /** @throws what is to be told */
  async answer(type: number, id: number, fields: FieldReader): Promise<Buffer> {
    const request = type === REQUEST.extended ? this.#extended.get(fields.text()) : this.#requests.get(type)
    if (!request) throw unsupported()
    return await request(id, fields)
  }

  /** @returns the answer; undefined where it comes by itself */
  read(id: number, fields: FieldReader): Promise<Buffer> | undefined {
    const handle = this.#handles.get(fields.bytes())
    const offset = fields.uint64()
    const length = Math.min(fields.uint32(), TRANSFER_MAX)
    if (handle.kind === 'directory') throw failure('Is a directory')
    if (handle.kind === 'stage') return readStage(id, handle.stage, offset, length)
    handle.reader.read(id, offset, length)
    return undefined
  }

  async write(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.get(fields.bytes())
    const offset = fields.uint64()
    const data = fields.bytes()
    if (handle.kind !== 'stage' || !handle.isWritable) throw failure('the file is not open for writing')
    await handle.stage.write(offset, data)
    return statusReply(id, STATUS.ok, '')
  }

  /** Closes what is left open as a connection that broke leaves it. @param onBug of each that cannot be closed */
  async abandonAll(onBug: (error: unknown) => void): Promise<void> {
    for (const handle of this.#handles.takeAll()) {
      try {
        if (handle.kind === 'stage') await this.#workspace.abandonStage(handle.stage)
        else await this.#dispose(handle)
      } catch (error) {
        if (!failureOf(error)) onBug(error)
      }
    }
  }

  async #done(id: number, work: Promise<void>): Promise<Buffer> {
    await work
    return statusReply(id, STATUS.ok, 'Success')
  }

  async #open(id: number, fields: FieldReader): Promise<Buffer> {
    const path = fields.bytes()
    const place = toPlace(path)
    const flags = fields.uint32()
    this.#handles.demandRoom()
    if (!(flags & OPEN.write)) return handleReply(id, this.#handles.add(await this.#openReader(place)))
    if (endsInSlash(path)) throw failure('Is a directory')
    const stage = await this.#workspace.openForWriting(place, flags)
    return handleReply(id, this.#handles.add({ kind: 'stage', place, stage, isWritable: true }))
  }

  async #openReader(place: Place): Promise<Handle> {
    const opened = await this.#workspace.openForReading(place)
    if (opened instanceof StagedFile) return { kind: 'stage', place, stage: opened, isWritable: false }
    const { files, contents, outlet, onRefused, ended, signal } = this.#deps
    try {
      const reader = new ReadHandle({
        reader: await contents.openReader(opened.parts),
        outlet,
        onFailure: onRefused,
        signal: AbortSignal.any([ended, signal]),
      })
      const { info } = opened
      const attributes: ShownAttributes = { kind: 'file', size: info.size, mtime: mtimeOf(info) }
      return { kind: 'read', place, located: opened, reader, attributes }
    } catch (error) {
      await files.release(opened.lease)
      throw error
    }
  }

  async #close(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.take(fields.bytes())
    if (handle.kind === 'stage') await this.#workspace.closeStage(handle.stage)
    else {
      if (handle.kind === 'read') await handle.reader.settle()
      await this.#dispose(handle)
    }
    return statusReply(id, STATUS.ok, 'Success')
  }

  async #dispose(handle: Exclude<Handle, { kind: 'stage' }>): Promise<void> {
    if (handle.kind === 'directory') await handle.pages.return?.()
    else {
      await handle.reader[Symbol.asyncDispose]()
      await this.#deps.files.release(handle.located.lease)
    }
  }

  async #stat(id: number, fields: FieldReader): Promise<Buffer> {
    return attrsReply(id, attributeFields(await this.#workspace.show(placeOf(fields))))
  }

  async #fstat(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.get(fields.bytes())
    if (handle.kind === 'stage') return attrsReply(id, attributeFields(shown(handle.stage)))
    const attributes = handle.kind === 'read' ? handle.attributes : await this.#workspace.show(handle.place)
    return attrsReply(id, attributeFields(attributes))
  }

  #setstat(id: number, fields: FieldReader): Promise<Buffer> {
    const place = placeOf(fields)
    return this.#done(id, this.#workspace.set(place, readAttributes(fields)))
  }

  async #fsetstat(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.get(fields.bytes())
    const change = readAttributes(fields)
    const isWritable = handle.kind === 'stage' && handle.isWritable
    if (change.size !== undefined && !isWritable) throw failure('the file is not open for writing')
    if (handle.kind === 'stage') return await this.#done(id, setStage(handle.stage, change))
    return await this.#done(id, this.#workspace.set(handle.place, change))
  }

  async #opendir(id: number, fields: FieldReader): Promise<Buffer> {
    const place = placeOf(fields)
    this.#handles.demandRoom()
    const pages = this.#workspace.list(place)
    // The first page tells whether there is such a directory.
    const first = await pages.next()
    return handleReply(id, this.#handles.add({ kind: 'directory', place, pages, rest: first.value ?? [] }))
  }

  async #readdir(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.get(fields.bytes())
    if (handle.kind !== 'directory') throw failure('Not a directory')
    while (handle.rest.length === 0) {
      const { done, value } = await handle.pages.next()
      if (done) throw new SftpFailure(STATUS.eof, 'End of file')
      handle.rest = value
    }
    const entries = handle.rest.slice(0, NAMES_IN_REPLY)
    handle.rest = handle.rest.slice(NAMES_IN_REPLY)
    const now = this.#deps.now() / 1000
    return nameReply(
      id,
      entries.map(({ name, attributes }) => ({
        name,
        long: longName(name, attributes, now),
        attributes: attributeFields(attributes),
      })),
    )
  }

  #rename(id: number, fields: FieldReader, replace: boolean): Promise<Buffer> {
    const [from, to] = [placeOf(fields), placeOf(fields)]
    return this.#done(id, this.#workspace.rename(from, to, { replace }))
  }

  async #statvfs(id: number, place: Place): Promise<Buffer> {
    return extendedReply(id, statvfsFields(await this.#workspace.usage(place)))
  }

  /** What a client was told is safe must be found again, whatever becomes of its connection. */
  async #fsync(id: number, fields: FieldReader): Promise<Buffer> {
    const handle = this.#handles.get(fields.bytes())
    if (handle.kind === 'stage') await handle.stage.publish()
    return statusReply(id, STATUS.ok, 'Success')
  }

  async #copyData(id: number, fields: FieldReader): Promise<Buffer> {
    const from = this.#handles.get(fields.bytes())
    const [offset, length] = [fields.uint64(), fields.uint64()]
    const to = this.#handles.get(fields.bytes())
    const target = fields.uint64()
    if (from === to || to.kind !== 'stage' || !to.isWritable) throw failure('cannot copy to that handle')
    const { contents, ended } = this.#deps
    const signal = AbortSignal.any([ended, this.#deps.signal])
    await copyData({ from, offset, length, to: to.stage, target, contents, signal })
    return statusReply(id, STATUS.ok, 'Success')
  }
}

async function readStage(id: number, stage: StagedFile, offset: number, length: number): Promise<Buffer> {
  const bytes = await stage.read(offset, length)
  return bytes.length === 0 ? statusReply(id, STATUS.eof, 'End of file') : dataReply(id, bytes)
}

function toPlace(path: Buffer): Place {
  const place = parsePath(path)
  if (!place) throw noSuchFile()
  return place
}

const placeOf = (fields: FieldReader): Place => toPlace(fields.bytes())

/** There are no links, so a path is real once it is tidy. */
function realpathReply(id: number, path: Buffer): Buffer {
  const name = printPlace(toPlace(path))
  const attributes = attributeFields({ kind: 'directory', mtime: 0 })
  return nameReply(id, [{ name, long: name, attributes }])
}

/** Everybody's home is the root. */
function withoutHome(path: Buffer): Buffer {
  if (path[0] !== 0x7e) return path
  const slash = path.indexOf('/')
  return slash < 0 ? Buffer.alloc(0) : path.subarray(slash)
}
