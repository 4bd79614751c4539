import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createCounts } from '#base/counts.ts'
import { LibraryError } from '#base/errors.ts'
import { exportsOfOne } from '#edge/nbd/exports.ts'
import { offerOnSocket, openExport } from '#edge/nbd/offer.ts'
import { startNbdService } from '#edge/nbd/service.ts'
import type { Flags } from '../config.ts'
import { listenError, reachable } from '../listen-error.ts'
import { createLog } from '../log.ts'
import { listen } from '../setting-kinds.ts'
import type { Parts } from '../wire.ts'
import { operatorSession, withParts } from '../with-parts.ts'

export interface ExportFlags extends Flags {
  readonly socket?: string
  readonly listen?: string
}

/** For whoever the operator lets reach the port; a reader may rest as long as he likes. */
const LIMITS = { negotiationMs: 30_000, stallMs: undefined }
const CONNECTIONS_MAX = 64

/** Offers an image's disk over NBD until a signal ends it; also while the library runs. */
export function runExport(id: string, flags: ExportFlags): Promise<void> {
  if (flags.socket !== undefined && flags.listen !== undefined)
    throw new LibraryError('invalid', 'export an image: choose one of --socket and --listen')
  return withParts(flags, async (parts) => {
    const { manifest } = await findImage(parts, id)
    await using _pin = await parts.library.acquirePins([manifest])
    const open = () => openExport(parts.contents.openDisk, manifest)
    // Before anybody is told that it is there.
    await (await open())[Symbol.asyncDispose]()
    const offering = { names: ['', id], open, log: createLog('warn') }
    await using offer = await (flags.listen === undefined
      ? offerAt(resolve(flags.socket ?? join(tmpdir(), `${id}-${process.pid}.sock`)), offering)
      : offerOnPort(flags.listen, offering))
    console.log(offer.uri)
    await Promise.race(['SIGINT', 'SIGTERM'].map((signal) => once(process, signal)))
  })
}

/** The image, whosever it is. */
async function findImage({ catalog, library }: Parts, id: string): Promise<{ readonly manifest: string }> {
  const image = await catalog.images.find(id)
  if (!image) throw new LibraryError('not_found', `image ${id} does not exist`)
  return await library.use(operatorSession(image.accountId), id)
}

type Offering = Omit<Parameters<typeof offerOnSocket>[0], 'path' | 'owner'>
type Offered = AsyncDisposable & { readonly uri: string }

async function offerAt(path: string, offering: Offering): Promise<Offered> {
  const offer = await offerOnSocket({ ...offering, path, owner: undefined })
  const uri = `nbd+unix:///?socket=${encodeURIComponent(path).replaceAll('%2F', '/')}`
  return { uri, [Symbol.asyncDispose]: () => offer[Symbol.asyncDispose]() }
}

async function offerOnPort(text: string, { names, open, log }: Offering): Promise<Offered> {
  const where = listen.parse(text)?.value
  if (!where) throw new LibraryError('invalid', `--listen must be ${listen.rule}`)
  const exports = exportsOfOne(names, open)
  const connections = createCounts(CONNECTIONS_MAX)
  const admit = () => {
    const visit = connections.enter('')
    return visit && { exports, [Symbol.dispose]: () => visit[Symbol.dispose]() }
  }
  try {
    const service = await startNbdService({ where, admit, limits: LIMITS, log })
    const uri = `nbd://${reachable(service.host)}:${service.port}/`
    return { uri, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() }
  } catch (cause) {
    throw listenError(cause, '--listen', where.host, where.port)
  }
}
