import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { after } from 'node:test'
import { startSwift } from '../../../../bench/swift-node.ts'
import { createBucket } from '../../../../test/support/radosgw.ts'
import { needs } from '../../../../test/support/tools.ts'
import { storeContract } from '../contract.ts'
import { openS3Store } from './open-s3-store.ts'
import type { S3Place } from './place.ts'

const BUCKET = 'tests'
let started: ReturnType<typeof start> | undefined

async function start() {
  const node = await startSwift(tmpdir())
  const credentials = { accessKeyId: node.user, secretAccessKey: node.key }
  const server = { endpoint: node.s3, bucket: BUCKET, region: 'us-east-1', credentials }
  await createBucket(server)
  return { node, server }
}

after(async () => (await started)?.node[Symbol.asyncDispose]())

storeContract(
  "Swift's s3api",
  async () => {
    started ??= start()
    const place: S3Place = { ...(await started).server, prefix: `${randomUUID()}/` }
    return openS3Store(place)
  },
  needs(
    'swift-proxy-server',
    'swift-account-server',
    'swift-container-server',
    'swift-object-server',
    'memcached',
  ),
)
