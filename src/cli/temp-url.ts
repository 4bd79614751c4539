import { createHmac, randomBytes } from 'node:crypto'
import { type ObjectPlace, type Orbit, pathOf, printPlace } from './orbit.ts'

/** Of the container that shows the account's images nothing can be changed, so its URLs are signed by the account's key. */
const READ_ONLY = 'images'

export interface TempUrl {
  readonly url: string
  /** Seconds since 1970. */
  readonly expires: number
}

/** Signs a URL with the key of the container or of the account; a container without one is given a random one. */
export async function makeTempUrl(
  orbit: Orbit,
  place: ObjectPlace,
  { method, seconds }: { method: string; seconds: number },
): Promise<TempUrl> {
  const key = await findKey(orbit, place)
  const expires = Math.floor(Date.now() / 1000) + seconds
  const path = pathOf(place)
  const signed = `${method}\n${expires}\n${decodeURIComponent(orbit.root + path)}`
  const signature = createHmac('sha256', key).update(signed).digest('hex')
  const query = `temp_url_sig=${signature}&temp_url_expires=${expires}`
  return { url: `${orbit.origin}${orbit.root}${path}?${query}`, expires }
}

async function findKey(orbit: Orbit, place: ObjectPlace): Promise<string> {
  const { container } = place
  const attempt = `sign a URL for ${printPlace(place)}`
  const own = container === READ_ONLY ? undefined : await readKey(orbit, { container }, attempt)
  const known = own ?? (await readKey(orbit, {}, attempt))
  if (known !== undefined) return known
  const key = randomBytes(20).toString('hex')
  const target = container === READ_ONLY ? {} : { container }
  const header = `X-${container === READ_ONLY ? 'Account' : 'Container'}-Meta-Temp-Url-Key`
  const response = await orbit.raw('POST', target, { attempt, headers: { [header]: key } })
  response.body.resume()
  return key
}

async function readKey(
  orbit: Orbit,
  target: { container?: string },
  attempt: string,
): Promise<string | undefined> {
  const kind = target.container === undefined ? 'account' : 'container'
  const response = await orbit.raw('HEAD', target, { attempt })
  response.body.resume()
  const key = response.headers[`x-${kind}-meta-temp-url-key`]
  return typeof key === 'string' && key !== '' ? key : undefined
}
