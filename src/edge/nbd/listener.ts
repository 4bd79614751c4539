import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { type Counts, createCounts } from '#base/counts.ts'
import { LibraryError } from '#base/errors.ts'
import { Shares } from '#base/shares.ts'
import type { Auth } from '#control/auth/auth.ts'
import { LoginLimit } from '#control/auth/login-limit.ts'
import { networkOf } from '#control/auth/login-limits.ts'
import type { Library } from '#control/library/library.ts'
import { isId } from '#model/ids.ts'
import type { Session } from '#model/session.ts'
import { type Exports, noSuchExport, type OpenDisk, type OpenExport } from './exports.ts'
import { openExport } from './offer.ts'
import { type NbdService, startNbdService } from './service.ts'

export interface NbdListenerLimits {
  /** Connections in all, of one address, and reading images of one account. */
  readonly connections: number
  readonly perAddress: number
  readonly perAccount: number
  readonly negotiationMs: number
  /** How long a client may take nothing of what it asked for. */
  readonly stallMs: number
}

export const LISTENER_LIMITS: NbdListenerLimits = {
  connections: 128,
  perAddress: 64,
  perAccount: 32,
  negotiationMs: 30_000,
  stallMs: 300_000,
}

/** Blocks that all its connections may hold beyond one each: the rest is for servers, whose guests wait. */
const SHARE = 48

export interface NbdListenerOptions {
  readonly auth: Pick<Auth, 'authenticate' | 'accounts' | 'stays'>
  readonly library: Pick<Library, 'use' | 'acquirePins'>
  readonly openDisk: OpenDisk
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
  /** Certificates and their key, PEM; where they are given, nothing is told without TLS. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  readonly limits?: NbdListenerLimits
  readonly now: () => number
  readonly log: Pick<Logger, 'error' | 'info'>
}

/**
 * Listens for NBD; the export `TOKEN/IMAGE` is what the bearer of that access token may read. Rights are looked at when
 * it is opened, and the image stays readable, destroyed or not and longer than the token is good, until the connection
 * ends or its bearer is let in no more.
 * @throws invalid where certificate and key are none
 */
export async function startNbdListener(options: NbdListenerOptions): Promise<NbdService> {
  const { host, port, tls, now, log, limits = LISTENER_LIMITS } = options
  const failures = new LoginLimit({ now })
  const connections = createCounts(limits.connections)
  const addresses = createCounts(limits.perAddress)
  const accounts = createCounts(limits.perAccount)
  // An idle connection may be a disk that somebody has mounted, so none is ended; but a few accounts cannot have all.
  const shares = new Shares({
    total: limits.connections,
    busy: 'open an export: too many connections read images',
  })

  function admit(socket: Socket): (Disposable & { exports: Exports }) | undefined {
    const address = socket.remoteAddress ?? ''
    if (failures.delayMs(networkOf(address)) > 0) return undefined
    using visit = new DisposableStack()
    if (!visit.use(connections.enter('')) || !visit.use(addresses.enter(address))) return undefined
    const staying = visit.move()
    return { exports: exportsFor(address, () => socket.destroy()), [Symbol.dispose]: () => staying.dispose() }
  }

  const exportsFor = (address: string, hangUp: () => void, network = networkOf(address)): Exports => ({
    // Names of exports are what lets somebody in.
    list: () => undefined,
    async open(name) {
      // One connection may try several names.
      if (failures.delayMs(network) > 0)
        throw new LibraryError('unavailable', 'open an export: too many tries failed, wait before the next')
      const [token = '', id = '', ...more] = name.split('/')
      const session = await identify(options.auth, token)
      if (!session) {
        failures.begin(network)
        throw new LibraryError(
          'denied',
          'open an export: its name must be ACCESS_TOKEN/IMAGE, with a good token',
        )
      }
      failures.succeeded(network)
      if (!isId('img', id) || more.length > 0) throw noSuchExport()
      const image = await find(options, { session, token, id })
      const opened = await openImage(options, image, { accounts, shares, hangUp })
      log.info({ account: image.session.accountId, image: id, address }, 'NBD opened')
      return opened
    },
  })

  const secured = tls && contextOf(tls)
  return await startNbdService({ where: { host, port }, admit, tls: secured, limits, share: SHARE, log })
}

function contextOf({ certificate, key }: { certificate: string; key: string }) {
  try {
    return createSecureContext({ cert: certificate, key })
  } catch (cause) {
    throw new LibraryError(
      'invalid',
      'listen for NBD: nbd.certificate and nbd.key are no certificate and its key',
      {
        cause,
      },
    )
  }
}

/** Undefined for whoever may not come in, whatever the reason. */
async function identify(
  auth: Pick<Auth, 'authenticate'>,
  token: string,
  accountId?: string,
): Promise<Session | undefined> {
  const result = await unlessHidden(auth.authenticate(token, accountId))
  return result?.ok ? result.value : undefined
}

type Found = Awaited<ReturnType<Library['use']>> & { readonly session: Session }

/** The image as the bearer sees it from his first account that does; what exists and what does not look alike. */
async function find(
  { auth, library }: Pick<NbdListenerOptions, 'auth' | 'library'>,
  { session, token, id }: { session: Session; token: string; id: string },
): Promise<Found> {
  const own = await unlessHidden(library.use(session, id))
  if (own) return { ...own, session }
  const others = session.userId === null ? [] : await auth.accounts.list(session)
  for (const account of others) {
    const other = await identify(auth, token, account.id)
    const image = other && (await unlessHidden(library.use(other, id)))
    if (image) return { ...image, session: other }
  }
  throw noSuchExport()
}

/** Undefined where something is not there, or not for whoever asks. */
async function unlessHidden<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    const isHidden = error instanceof LibraryError && (error.code === 'not_found' || error.code === 'denied')
    if (isHidden) return undefined
    throw error
  }
}

interface Limiting {
  readonly accounts: Counts
  readonly shares: Shares
  readonly hangUp: () => void
}

/** Holds all that a connection needs of an image. */
async function openImage(
  { auth, library, openDisk }: Pick<NbdListenerOptions, 'auth' | 'library' | 'openDisk'>,
  { manifest, session }: Found,
  { accounts, shares, hangUp }: Limiting,
): Promise<OpenExport> {
  await using opening = new AsyncDisposableStack()
  if (!opening.use(accounts.enter(session.accountId)))
    throw new LibraryError('denied', 'open an export: too many connections of this account read images')
  opening.use(shares.enter(session.accountId)).add(1)
  opening.use(auth.stays.enter(session)).signal.addEventListener('abort', hangUp)
  opening.use(await library.acquirePins([manifest]))
  return await openExport(openDisk, manifest, opening.move())
}
