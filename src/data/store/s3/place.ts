import { LibraryError } from '#base/errors.ts'
import type { ReadCache } from '../read-cache.ts'

/** What signs requests. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** Milliseconds since 1970; undefined where they do not expire. */
  readonly expiresAt?: number | undefined
}

/** Where a store in an object store is. */
export interface S3Address {
  /** Scheme, host and port. */
  readonly endpoint: string
  readonly bucket: string
  /** What all keys begin with: empty, or ends in a slash. */
  readonly prefix: string
  readonly region: string
}

/** The same with what opens it, as plain data for threads and processes, which see no environment. Never logged. */
export interface S3Place extends S3Address {
  readonly credentials: S3Credentials
  /** A file with newer ones, where these expire. */
  readonly renewals?: string
  /** Where blocks that were read are kept at hand. */
  readonly cache?: ReadCache
}

const DEFAULT_REGION = 'us-east-1'
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const PREFIX = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/
const PREFIX_MAX = 512
const REGION = /^[a-z0-9-]{1,64}$/

/** What an address must look like; ends the sentence "… must be". */
export const S3_RULE = 's3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION'

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…`: without an endpoint it is Amazon's in that region. There is no place
 * for credentials in it.
 * @throws invalid
 */
export function parseS3Address(text: string): S3Address {
  const invalid = (what: string) => new LibraryError('invalid', `the store ${what}; it must be ${S3_RULE}`)
  const url = URL.parse(text)
  if (url?.protocol !== 's3:') throw invalid('is no s3: URL')
  if (url.username !== '' || url.password !== '' || url.hash !== '' || url.port !== '')
    throw invalid('has a user, a password, a port or a fragment in its URL')
  for (const name of url.searchParams.keys())
    if (name !== 'endpoint' && name !== 'region') throw invalid('has a parameter that there is not')
  const bucket = url.host
  if (!BUCKET.test(bucket)) throw invalid('has a bucket whose name cannot be one')
  const path = url.pathname.replace(/^\//, '')
  const prefix = path === '' || path.endsWith('/') ? path : `${path}/`
  if (!PREFIX.test(prefix) || prefix.length > PREFIX_MAX)
    throw invalid('has a prefix with other characters than A-Z, a-z, 0-9, ., _ and -')
  const region = url.searchParams.get('region') ?? DEFAULT_REGION
  if (!REGION.test(region)) throw invalid('has a region that cannot be one')
  const endpoint = URL.parse(url.searchParams.get('endpoint') ?? `https://s3.${region}.amazonaws.com`)
  const isOrigin =
    endpoint !== null && /^https?:$/.test(endpoint.protocol) && endpoint.href === `${endpoint.origin}/`
  if (!isOrigin) throw invalid('has an endpoint that is not http:// or https://, a host and a port')
  return { endpoint: endpoint.origin, bucket, prefix, region }
}
