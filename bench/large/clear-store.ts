import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { createSdkClient, KEYS, REGION } from '../../test/support/radosgw.ts'

const AT_ONCE = 16

/** Deletes what a library left in an object store that lies in memory. @param address as after `--store` */
export async function clearStore(address: string): Promise<void> {
  const { hostname: bucket, pathname, searchParams } = new URL(address)
  const endpoint = searchParams.get('endpoint') ?? ''
  const client = createSdkClient({ endpoint, region: REGION, credentials: KEYS })
  try {
    for (;;) {
      const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: pathname.slice(1) }))
      const keys = (page.Contents ?? []).map(({ Key }) => Key)
      if (keys.length === 0) return
      const drop = async () => {
        for (let key = keys.pop(); key; key = keys.pop())
          await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
      }
      await Promise.all(Array.from({ length: AT_ONCE }, drop))
    }
  } finally {
    client.destroy()
  }
}
