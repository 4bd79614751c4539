import { randomUUID } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { type AloneOptions, tryAlone } from '#control/jobs/alone.ts'

/** In the catalog: the name of the folder that has the servers' disks. */
const HOME = 'servers.home'
/** In that folder, and moved with it. */
const FILE = 'home'

export interface ServersHomeOptions {
  readonly catalog: Pick<Catalog, 'transaction' | 'beside'>
  /** Where the servers' disks are. */
  readonly folder: string
  /** Others may use the catalog, too. */
  readonly isShared: boolean
  readonly now: () => number
  readonly log: AloneOptions['log']
  readonly leaseMs?: number
  readonly renewMs?: number
  /** Told where another process took the servers, as one may where this one stood still and there are none. */
  readonly onLost: () => void
}

/**
 * Makes this the process that runs the servers of a catalog, until it is disposed of. Their disks lie in one folder: a
 * process with another one would find none of them, and take the servers for broken.
 * @throws conflict where another process runs them, or their disks are elsewhere
 */
export async function holdServers(options: ServersHomeOptions): Promise<AsyncDisposable> {
  const { catalog, folder, isShared, onLost, ...alone } = options
  const home = await nameOf(folder)
  await catalog.transaction(async ({ settings, servers }) => {
    const known = await settings.get(HOME)
    if (known === home) return
    if (isShared && known !== undefined && (await servers.listExisting()).length > 0)
      throw new LibraryError('conflict', `run the servers: their disks are not in ${folder}`, {
        hint: 'start it with the data folder that has them, or set roles without servers',
      })
    await settings.set(HOME, home)
  })
  if (!isShared) return { async [Symbol.asyncDispose]() {} }
  const [held, over] = [Promise.withResolvers<boolean>(), new AbortController()]
  const work = (signal: AbortSignal) => {
    held.resolve(true)
    return new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
  // By the folder's name: who died with it and starts again need not wait for himself.
  const holding = tryAlone('servers', work, { ...alone, catalog, holder: home }, over.signal).then(
    () => held.resolve(false),
    (error: unknown) => {
      held.resolve(false)
      if (over.signal.aborted) return
      alone.log.error({ err: error }, 'another process runs the servers by now')
      onLost()
    },
  )
  if (!(await held.promise))
    throw new LibraryError('conflict', 'run the servers: another process does', {
      hint: 'set roles without servers for all processes but one',
    })
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await holding
    },
  }
}

async function nameOf(folder: string): Promise<string> {
  const path = join(folder, FILE)
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const name = randomUUID()
  await mkdir(folder, { recursive: true })
  await writeFile(path, `${name}\n`, { flush: true })
  return name
}
