import { randomUUID } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { S3Address, S3Credentials, S3Place } from './place.ts'

/** How often is looked whether there are newer ones; the SDK's chain renews them five minutes before they expire. */
const LOOK_MS = 30_000
/** From here on those that are at hand are not used any more where there are newer ones. */
const NEARLY_EXPIRED_MS = 2 * 60_000
const RELOAD_MS = 1000

/** A place that is kept up to date until it is disposed of. */
export interface HeldS3Place extends AsyncDisposable {
  readonly place: S3Place
}

export interface HoldOptions {
  readonly address: S3Address
  /** Where credentials that expire are handed on to threads and processes; for us alone. */
  readonly folder: string
  /** For tests: Amazon's chain otherwise, as its own programs have it. */
  readonly provide?: () => Promise<S3Credentials>
  readonly lookMs?: number
}

/**
 * Finds credentials as Amazon's own programs do: in the environment, the shared files, from a web identity or a role of
 * the machine. It is the main thread that does, for others see no environment.
 * @throws unavailable where there are none
 */
export async function holdS3Place(options: HoldOptions): Promise<HeldS3Place> {
  const { address, folder, provide = await amazonsChain(), lookMs = LOOK_MS } = options
  let known: S3Credentials
  try {
    known = await provide()
  } catch (cause) {
    throw new LibraryError('unavailable', 'open the store: there are no credentials for it', {
      cause,
      hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or any other source that the AWS programs know.',
    })
  }
  if (known.expiresAt === undefined)
    return { place: { ...address, credentials: known }, async [Symbol.asyncDispose]() {} }
  const renewals = join(folder, `credentials-${randomUUID()}.json`)
  await write(renewals, known)
  const look = async () => {
    const found = await provide()
    if (found.accessKeyId === known.accessKeyId && found.expiresAt === known.expiresAt) return
    await write(renewals, found)
    known = found
  }
  // Those at hand are good for some time yet; it is tried again soon.
  const timer = setInterval(() => void look().catch(() => undefined), lookMs).unref()
  return {
    place: { ...address, credentials: known, renewals },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await rm(renewals, { force: true })
    },
  }
}

/** Loaded only where it is needed, for it is large. */
async function amazonsChain(): Promise<() => Promise<S3Credentials>> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node')
  const chain = defaultProvider()
  return async () => {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await chain()
    return { accessKeyId, secretAccessKey, sessionToken, expiresAt: expiration?.getTime() }
  }
}

async function write(path: string, credentials: S3Credentials): Promise<void> {
  const temporary = `${path}.new`
  await writeFile(temporary, JSON.stringify(credentials), { mode: 0o600 })
  await rename(temporary, path)
}

/** What requests are signed with, on any thread: the place's, or newer ones where these are about to expire. */
export function credentialsOf(place: S3Place): (renewed?: boolean) => Promise<S3Credentials> {
  const { renewals } = place
  let known = place.credentials
  let readAt = Number.NEGATIVE_INFINITY
  return async (renewed = false) => {
    if (renewals === undefined) return known
    const isGood = known.expiresAt === undefined || known.expiresAt - Date.now() > NEARLY_EXPIRED_MS
    if ((isGood && !renewed) || performance.now() - readAt < RELOAD_MS) return known
    readAt = performance.now()
    known = (await read(renewals)) ?? known
    return known
  }
}

/** Undefined where the file is gone, as when the library stops. */
async function read(path: string): Promise<S3Credentials | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as S3Credentials
  } catch {
    return undefined
  }
}
