import type { Auth, AuthResult, OrbitIdentity } from '#control/auth/auth.ts'
import { type ObjectRoom, type ObjectRow, type Orbit, OrbitRefusal } from '#control/orbit/orbit.ts'
import type { Caller } from '#model/orbit.ts'
import type { Session } from '#model/session.ts'
import { isMarker, type ListedName, mtimeOf, type ObjectName, PAGE, secondsOf } from './files.ts'
import { createLeases } from './leases.ts'
import type { LoginGuard } from './login-guard.ts'
import type { Desk } from './rpc-methods.ts'

export interface DeskDeps {
  readonly auth: Pick<Auth, 'orbit' | 'stays'>
  readonly orbit: Orbit
  /** Keeps what is written from now on from collection. */
  readonly keep: () => Promise<AsyncDisposable>
  /** Of all desks together. */
  readonly guard: LoginGuard
}

/** The desk of one process; whatever it lent out comes back when it is disposed of. */
export type OpenDesk = Desk & AsyncDisposable

interface Login extends Caller {
  readonly account: string
  /** Gives back what was taken for it. */
  readonly taken: Disposable
  readonly over: Promise<void>
}

/**
 * Answers what connections ask, of which the process that has them knows only the number of its login: who that is,
 * stays here.
 */
export function createDesk({ auth, orbit, keep, guard }: DeskDeps): OpenDesk {
  const logins = new Map<number, Login>()
  const leases = createLeases()
  let last = 0

  const callerOf = (login: number) => {
    const caller = logins.get(login)
    if (!caller) throw new OrbitRefusal('denied', 'nobody is logged in')
    return caller
  }

  function roomOf(lease: number): ObjectRoom {
    const room = leases.getRoom(lease)
    if (!room) throw new OrbitRefusal('denied', 'no room is held for the file')
    return room
  }

  function leave(login: number): void {
    logins.get(login)?.taken[Symbol.dispose]()
    logins.delete(login)
  }

  function enter(
    identity: AuthResult<OrbitIdentity>,
    address: string,
    isGood?: (session: Session) => Promise<boolean>,
  ): number | undefined {
    if (!identity.ok) {
      guard.failed(address)
      return undefined
    }
    const { session, groups } = identity.value
    const visit = guard.enter(nameOf(session), address)
    if (!visit) return undefined
    const login = ++last
    const over = Promise.withResolvers<void>()
    const taken = new DisposableStack()
    taken.use(visit)
    taken.defer(over.resolve)
    const stay = taken.use(auth.stays.enter(session, isGood && (() => isGood(session))))
    stay.signal.addEventListener('abort', () => leave(login))
    const caller = { session, groups, referrer: undefined, grant: undefined }
    logins.set(login, { ...caller, account: session.accountId, taken, over: over.promise })
    return login
  }

  const at = (login: number, name: ObjectName) => ({ account: callerOf(login).account, ...name })
  const containerAt = (login: number, container: string) => ({ account: callerOf(login).account, container })

  /** A row of a listing does not say what a client once set, nor how long a large object reads. */
  async function toListed(login: number, container: string, row: ObjectRow): Promise<ListedName | undefined> {
    const caller = callerOf(login)
    if (row.kind === 'subdir') return { kind: 'subdir', name: row.name.slice(0, -1), mtime: 0 }
    const mtime = secondsOf(row.modifiedAt)
    if (isMarker(row.contentType)) return { kind: 'marker', name: row.name, mtime }
    const file = { kind: 'file', name: row.name, size: row.bytes, mtime } as const
    try {
      const info = await found(orbit.objects.show(caller, at(login, { container, object: row.name })))
      return info && { ...file, size: info.size, mtime: mtimeOf(info) }
    } catch (error) {
      // The parts of a large object may be somewhere where the caller may not look.
      if (error instanceof OrbitRefusal) return file
      throw error
    }
  }

  return {
    async loginByPassword(user, password, address) {
      const login = await auth.orbit.login({ user, key: password, address })
      return enter(
        login.ok ? await auth.orbit.identify(login.value.token, login.value.accountId) : login,
        address,
      )
    },

    async loginByKey(user, key, address) {
      const hasKey = async (session: Session) =>
        (await auth.orbit.loginByKey({ user: nameOf(session), accountId: session.accountId, key })).ok
      return enter(await auth.orbit.loginByKey({ user, key }), address, hasKey)
    },

    async knowsKey(user, key) {
      return (await auth.orbit.loginByKey({ user, key })).ok
    },

    async untilOver(login) {
      await logins.get(login)?.over
    },

    async logout(login) {
      leave(login)
    },

    async keep() {
      return leases.add(await keep())
    },

    release: (lease) => leases.release(lease),

    async listContainers(login, marker) {
      const caller = callerOf(login)
      // Who may use what he was given only, sees nothing here and enters by name.
      if (caller.session?.permissions !== 'full') return { rows: [], next: undefined }
      const { rows } = await orbit.accounts.list(caller, caller.account, { limit: PAGE, marker })
      return {
        rows: rows.flatMap((row) =>
          row.kind === 'container' ? [{ name: row.name, modifiedAt: row.modifiedAt }] : [],
        ),
        next: rows.length < PAGE ? undefined : rows.at(-1)?.name,
      }
    },

    async list(login, container, prefix, marker) {
      const query = { limit: PAGE, prefix, delimiter: '/', marker }
      const path = containerAt(login, container)
      const { info, rows } = await orbit.containers.list(callerOf(login), path, query)
      const listed = await Promise.all(
        rows.filter(({ name }) => name !== prefix).map((row) => toListed(login, container, row)),
      )
      return {
        rows: listed.flatMap((row) =>
          row?.kind === 'subdir' ? [{ ...row, mtime: secondsOf(info.updatedAt) }] : (row ?? []),
        ),
        next: rows.length < PAGE ? undefined : rows.at(-1)?.name,
      }
    },

    async showContainer(login, container) {
      return (await orbit.containers.show(callerOf(login), containerAt(login, container))).updatedAt
    },

    async makeContainer(login, container) {
      const caller = callerOf(login)
      const path = containerAt(login, container)
      if (await found(orbit.containers.show(caller, path))) return false
      return await orbit.containers.put(caller, path, { metadata: {} })
    },

    removeContainer: (login, container) =>
      orbit.containers.remove(callerOf(login), containerAt(login, container)),

    async look(login, name) {
      const caller = callerOf(login)
      const query = { limit: 1, prefix: `${name.object}/` }
      const [{ info, rows }, object] = await Promise.all([
        orbit.containers.list(caller, containerAt(login, name.container), query),
        found(orbit.objects.show(caller, at(login, name))),
      ])
      return { object, hasChildren: rows.length > 0, containerChangedAt: info.updatedAt }
    },

    async namesUnder(login, container, prefix, limit) {
      const path = containerAt(login, container)
      const { rows } = await orbit.containers.list(callerOf(login), path, { limit, prefix })
      return rows.map(({ name }) => name)
    },

    async locate(login, name) {
      const located = await orbit.objects.locate(callerOf(login), at(login, name))
      const { info, parts } = located
      return { lease: await leases.add(located), info, parts }
    },

    async hold(login, name) {
      const room = await orbit.objects.hold(callerOf(login), at(login, name))
      const size = await room.extend(0)
      return { lease: await leases.add(room), size }
    },

    extend: (lease, size) => roomOf(lease).extend(size),

    async publish(login, name, attributes, written, lease) {
      const room = lease === undefined ? undefined : roomOf(lease)
      await orbit.objects.publish(callerOf(login), at(login, name), attributes, written, room)
    },

    async setMetadata(login, name, key, value) {
      const caller = callerOf(login)
      const info = await orbit.objects.show(caller, at(login, name))
      await orbit.objects.update(caller, at(login, name), {
        headers: info.headers,
        metadata: { ...info.metadata, [key]: value },
        ...(info.deleteAt === undefined ? {} : { deleteAt: info.deleteAt }),
        ...(info.dynamicManifest === undefined ? {} : { dynamicManifest: info.dynamicManifest }),
      })
    },

    remove: (login, name) => orbit.objects.remove(callerOf(login), at(login, name)),

    rename: (login, from, to, options) =>
      orbit.objects.rename(callerOf(login), at(login, from), at(login, to), options),

    async usage(login, container) {
      const caller = callerOf(login)
      const own =
        container === undefined
          ? undefined
          : await allowed(orbit.containers.show(caller, containerAt(login, container)))
      const ownQuota = own && quotaOf(own.metadata)
      if (own && ownQuota !== undefined) {
        return { bytesUsed: own.bytesUsed, objectCount: own.objectCount, quota: ownQuota }
      }
      const all = await allowed(orbit.accounts.show(caller, caller.account))
      return {
        bytesUsed: all?.bytesUsed ?? 0,
        objectCount: all?.objectCount ?? 0,
        quota: all && quotaOf(all.metadata),
      }
    },

    async [Symbol.asyncDispose]() {
      for (const login of [...logins.keys()]) leave(login)
      await leases[Symbol.asyncDispose]()
    },
  }
}

const nameOf = ({ clientId, userId, accountId }: Session): string => clientId ?? userId ?? accountId

/** Undefined where there is no such thing. */
async function found<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof OrbitRefusal && error.kind === 'not_found') return undefined
    throw error
  }
}

/** Undefined where it is refused, whatever the reason. */
async function allowed<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof OrbitRefusal) return undefined
    throw error
  }
}

function quotaOf(metadata: Readonly<Record<string, string>>): number | undefined {
  const text = metadata['quota-bytes'] ?? ''
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
