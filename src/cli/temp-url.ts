import { createHmac, randomBytes } from 'node:crypto'
import { CommandError } from './failure.ts'
import { type ObjectPlace, type Orbit, pathOf, printPlace } from './orbit.ts'

/** Nothing can be changed of the container that shows the account's images: keys of its own it cannot have. */
const READ_ONLY = 'images'
const KEYS = {
  account: 'x-account-meta-temp-url-key',
  container: 'x-container-meta-temp-url-key',
} as const

export interface TempUrl {
  readonly url: string
  /** Seconds since 1970. */
  readonly expires: number
}

/**
 * Signs a URL with the key of the container or of the account; where there is none, a random one is set.
 * @throws an error that names the object, where it does not exist and is not to be put
 */
export async function makeTempUrl(
  orbit: Orbit,
  place: ObjectPlace,
  { method, seconds }: { method: string; seconds: number },
): Promise<TempUrl> {
  const attempt = `sign a URL for ${printPlace(place)}`
  const headers = method === 'PUT' ? {} : await orbit.head(place, attempt)
  if (headers === undefined) {
    throw new CommandError(`There is no object ${printPlace(place)}`, {
      hint: `brightbox orbit ls ${place.container} lists those there are`,
    })
  }
  // The key of a container does not open segments in another one.
  const isLarge = headers['x-static-large-object'] !== undefined || headers['x-object-manifest'] !== undefined
  const key = await findKey(orbit, place.container, { attempt, isLarge })
  const expires = Math.floor(Date.now() / 1000) + seconds
  const path = pathOf(place)
  const signed = `${method}\n${expires}\n${decodeURIComponent(orbit.root + path)}`
  const signature = createHmac('sha256', key).update(signed).digest('hex')
  const query = `temp_url_sig=${signature}&temp_url_expires=${expires}`
  return { url: `${orbit.origin}${orbit.root}${path}?${query}`, expires }
}

async function findKey(
  orbit: Orbit,
  container: string,
  { attempt, isLarge }: { attempt: string; isLarge: boolean },
): Promise<string> {
  const isOfAccount = isLarge || container === READ_ONLY
  const read = async (kind: keyof typeof KEYS) => {
    const response = await orbit.raw('HEAD', kind === 'account' ? {} : { container }, { attempt })
    response.body.resume()
    return String(response.headers[KEYS[kind]] ?? '')
  }
  const known = (isOfAccount ? '' : await read('container')) || (await read('account'))
  if (known !== '') return known
  const key = randomBytes(20).toString('hex')
  const headers = { [KEYS[isOfAccount ? 'account' : 'container']]: key }
  await orbit.text('POST', isOfAccount ? {} : { container }, { attempt, headers })
  return key
}
