import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import type { S3Place } from '#data/store/s3/place.ts'
import { createDatabase } from './postgres.ts'
import { createS3Place, createSdkClient, KEYS } from './radosgw.ts'

const execute = promisify(execFile)

/** What the libraries of tests stand on: `BACKEND=large` for PostgreSQL and S3, else each for its own data folder. */
const IS_LARGE = process.env.BACKEND === 'large'
if (IS_LARGE) {
  process.env.AWS_ACCESS_KEY_ID = KEYS.accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = KEYS.secretAccessKey
}

interface Place {
  readonly arguments: readonly string[]
  readonly database?: AsyncDisposable
  readonly store?: S3Place
}

const places = new Map<string, Promise<Place>>()

/** The arguments by which the daemon and every command of the operator find a test's library. @param data its folder */
export async function libraryAt(data: string): Promise<readonly string[]> {
  return (await placeOf(data)).arguments
}

function placeOf(data: string): Promise<Place> {
  const place = places.get(data) ?? makePlace(data)
  places.set(data, place)
  return place
}

async function makePlace(data: string): Promise<Place> {
  if (!IS_LARGE) return { arguments: ['--data', data] }
  const [database, store] = await Promise.all([createDatabase({ empty: true }), createS3Place()])
  const { bucket, prefix, endpoint, region } = store
  const address = `s3://${bucket}/${prefix}?endpoint=${endpoint}&region=${region}`
  return { arguments: ['--data', data, '--catalog', database.url, '--store', address], database, store }
}

/** To be called when the folder is removed. */
export async function forgetLibrary(data: string): Promise<void> {
  const place = await placeOf(data)
  places.delete(data)
  await place.database?.[Symbol.asyncDispose]()
}

/** The names of what lies in a library's store, but for what each has; also what is half put. */
export async function listStored(data: string): Promise<readonly string[]> {
  const { store } = await placeOf(data)
  if (store === undefined) {
    const { stdout } = await execute('find', [
      join(data, 'store'),
      '-type',
      'f',
      '-size',
      '+0',
      '!',
      '-name',
      'generation',
    ])
    return stdout.split('\n').filter(Boolean)
  }
  const client = createSdkClient(store)
  try {
    const list = new ListObjectsV2Command({ Bucket: store.bucket, Prefix: store.prefix })
    const { Contents = [] } = await client.send(list)
    // What was removed is kept aside for an hour.
    const keys = Contents.map(({ Key = '' }) => Key.slice(store.prefix.length))
    return keys.filter((key) => /^(blocks|manifests)\//.test(key))
  } finally {
    client.destroy()
  }
}
