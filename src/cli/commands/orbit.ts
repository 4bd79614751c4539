import { CommandError } from '../failure.ts'
import { type ContainerJson, listContainers, listObjects, type ObjectRowJson } from '../object-list.ts'
import { type Orbit, parseObjectPlace, parsePlace, printPlace } from '../orbit.ts'
import { removeObject } from '../remove-object.ts'
import type { Session } from '../session.ts'
import { makeTempUrl } from '../temp-url.ts'
import { parseDuration } from '../units.ts'

const SUBCOMMANDS = 'containers, ls, put, get, rm or tempurl'

/** Lists the account's containers. */
export async function containers(session: Session, args: readonly string[]) {
  if (args.length > 0) throw new CommandError(`Unknown command '${args[0]}'`, { hint: SUBCOMMANDS })
  const orbit = await open(session)
  const rows: ContainerJson[] = []
  for await (const page of listContainers(orbit)) rows.push(...page)
  const shown = rows.map((row) => ({ ...row, modified: printModified(row.last_modified) }))
  session.printRows(['name', 'count', 'bytes', 'modified'], shown, rows)
}

export interface ListOptions {
  readonly delimiter?: string
}

/** Lists the objects of a container. */
export async function list(session: Session, args: readonly string[], { delimiter }: ListOptions) {
  const [name, prefix, ...more] = args
  if (name === undefined || more.length > 0) throw new CommandError('You must specify one container to list')
  const { container, object } = parsePlace(name)
  const orbit = await open(session)
  const rows: ObjectRowJson[] = []
  const wanted = { container, prefix: (object ?? '') + (prefix ?? ''), delimiter }
  for await (const page of listObjects(orbit, wanted)) rows.push(...page)
  const shown = rows.map((row) =>
    'subdir' in row ? { name: row.subdir } : { ...row, modified: printModified(row.last_modified) },
  )
  session.printRows(['name', 'bytes', 'content_type', 'modified'], shown, rows)
}

/** Swift's times have no zone: they are UTC. */
const printModified = (time: string): string => `${time.slice(0, 16)}Z`

export interface RemoveOptions {
  readonly recursive?: boolean
}

/** Removes objects, a large one with its segments, and containers. */
export async function remove(session: Session, args: readonly string[], { recursive }: RemoveOptions) {
  if (args.length === 0) throw new CommandError('You must specify the objects you want to remove')
  const places = args.map(parsePlace)
  const orbit = await open(session)
  const removed: string[] = []
  const tell = (name: string) => {
    session.terminal.info(`Removed ${name}`)
    removed.push(name)
  }
  for (const { container, object } of places) {
    if (object !== undefined && !recursive) {
      await removeObject(orbit, { container, object })
      tell(`${container}/${object}`)
      continue
    }
    if (recursive) await removeAll(orbit, { container, prefix: object }, tell)
    if (object === undefined) {
      await removeContainer(orbit, container)
      tell(container)
    }
  }
  if (session.options.json) session.printJson(removed)
}

async function removeContainer(orbit: Orbit, container: string): Promise<void> {
  try {
    await orbit.text('DELETE', { container }, { attempt: `remove container ${container}` })
  } catch (error) {
    if (!(error instanceof CommandError && 'status' in error && error.status === 409)) throw error
    throw new CommandError(`remove container ${container}: it is not empty`, {
      cause: error,
      hint: '-r removes all that is in it too',
    })
  }
}

async function removeAll(
  orbit: Orbit,
  wanted: { container: string; prefix: string | undefined },
  tell: (name: string) => void,
): Promise<void> {
  for await (const page of listObjects(orbit, wanted)) {
    for (const row of page) {
      if (!('name' in row)) continue
      const place = { container: wanted.container, object: row.name }
      await removeObject(orbit, place, row.slo_etag !== undefined)
      tell(printPlace(place))
    }
  }
}

export interface TempUrlOptions {
  readonly method: string
  readonly expires: string
}

const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE']

/** Prints a URL with which somebody without an account can read (or write) one object for a while. */
export async function tempUrl(session: Session, args: readonly string[], options: TempUrlOptions) {
  const [name, ...more] = args
  if (name === undefined || more.length > 0) throw new CommandError('You must specify one object')
  const place = parseObjectPlace(name)
  const method = options.method.toUpperCase()
  if (!METHODS.includes(method)) throw new CommandError(`method must be one of ${METHODS.join(', ')}`)
  const seconds = parseDuration(options.expires, 'expires')
  const orbit = await open(session)
  const { url, expires } = await makeTempUrl(orbit, place, { method, seconds })
  const expiresAt = new Date(expires * 1000).toISOString()
  if (session.options.json) session.printJson({ url, method, expires_at: expiresAt })
  else session.terminal.out(`${url}\n`)
}

const open = async (session: Session): Promise<Orbit> => (await session.connect()).orbit()
