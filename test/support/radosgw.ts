import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { BucketAlreadyOwnedByYou, CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import type { S3Place } from '#data/store/s3/place.ts'
import type { Tool } from './tools.ts'

/** What it takes to run Ceph's object store. */
export const RADOSGW = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph'] as const satisfies readonly Tool[]

/** Says where the server of a whole run of tests is. */
const SHARED = 'TEST_RADOSGW'
const START_MS = 120_000
export const KEYS = { accessKeyId: 'AKTEST', secretAccessKey: 'SKTEST' }
export const REGION = 'us-east-1'
const BUCKET = 'tests'

/** Memory for all that tests put, which is deleted by none of them. */
const SETTINGS = `[global]
fsid = FSID
mon host = [v2:127.0.0.1:MON2/0,v1:127.0.0.1:MON1/0]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
public network = 127.0.0.0/8
run dir = DIR/out
log file = DIR/log/$name.log
admin socket = DIR/out/$name.asok
pid file = DIR/out/$name.pid
keyring = DIR/keyring
[mon]
mon data = DIR/mon
[osd]
osd data = DIR/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:PORT
rgw data = DIR/rgw
rgw num rados handles = 1
`

const BEGIN = `
mkdir "$dir"/mon "$dir"/osd "$dir"/log "$dir"/out "$dir"/rgw
printf '%s' "$settings" > "$dir/ceph.conf"
key() { ceph-authtool "$dir/keyring" --gen-key -n "$@"; }
ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *'
key client.rgw --cap mon 'allow *' --cap osd 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
cp "$dir/keyring" "$dir/rgw/keyring"
set -- -c "$dir/ceph.conf"
monmaptool "$@" --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]" "$dir/monmap"
ceph-mon "$@" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
ceph-mon "$@" -i a
ceph "$@" osd new "$osd" 0
ceph-osd "$@" -i 0 --mkfs --osd-uuid "$osd"
ceph "$@" osd crush add osd.0 1.0 host=localhost root=default
ceph-osd "$@" -i 0
radosgw-admin "$@" user create --uid=test --display-name=test --access-key="$access" --secret-key="$secret"
radosgw "$@" -n client.rgw
`

/** Ends all of it when we close its standard input, or end. */
const SUPERVISOR = `
sh -ec "$begin" > "$dir/start.log" 2>&1 < /dev/null && echo started && cat > /dev/null ||
  tail -n 20 "$dir/start.log" >&2
for file in "$dir"/out/*.pid; do kill -KILL "$(cat "$file")"; done 2> /dev/null
rm -rf "$dir"
`

export interface TestObjectStore extends AsyncDisposable {
  /** Scheme, address and port. */
  readonly endpoint: string
  /** Of all that it runs, with their pids in `out`. */
  readonly folder: string
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  return servers.map((server) => {
    const address = server.address()
    server.close()
    return typeof address === 'object' && address ? address.port : 0
  })
}

/** Ceph's object store in memory, with one user; it ends with this process, however that ends. */
export async function startRadosgw(): Promise<TestObjectStore> {
  const folder = mkdtempSync(join(tmpdir(), 'rgw-'))
  const [mon2 = 0, mon1 = 0, port = 0] = await freePorts(3)
  const fsid = randomUUID()
  const values = { FSID: fsid, MON2: mon2, MON1: mon1, PORT: port, DIR: folder }
  const settings = SETTINGS.replace(/FSID|MON2|MON1|PORT|DIR/g, (name) => String(values[name as 'PORT']))
  const variables = { dir: folder, fsid, mon2: String(mon2), mon1: String(mon1), osd: randomUUID() }
  // In a session of its own, so that what interrupts us does not interrupt it in its clearing up.
  const child = spawn('sh', ['-c', SUPERVISOR], {
    env: {
      PATH: process.env.PATH,
      ...variables,
      ...{ settings, begin: BEGIN, access: KEYS.accessKeyId, secret: KEYS.secretAccessKey },
    },
    cwd: folder,
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [answer] = await Promise.race([
    once(child.stdout, 'data', { signal: AbortSignal.timeout(START_MS) }),
    once(child, 'exit').then(() => ['ended']),
  ])
  if (String(answer) !== 'started\n') throw new Error('radosgw does not start')
  const server = {
    endpoint: `http://127.0.0.1:${port}`,
    folder,
    async [Symbol.asyncDispose]() {
      child.ref()
      const ended = child.exitCode === null ? once(child, 'exit') : undefined
      child.stdin.end()
      await ended
    },
  }
  try {
    await untilListening(server.endpoint)
    await createBucket({ endpoint: server.endpoint, bucket: BUCKET, region: REGION, credentials: KEYS })
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
  child.unref()
  for (const stream of [child.stdin, child.stdout])
    if ('unref' in stream) (stream as { unref(): void }).unref()
  return server
}

/** It goes into the background before it listens. */
async function untilListening(endpoint: string): Promise<void> {
  for (const deadline = Date.now() + START_MS; ; await setTimeout(100)) {
    try {
      await (await fetch(endpoint, { signal: AbortSignal.timeout(START_MS) })).text()
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
  }
}

export async function createBucket({ bucket, ...server }: Omit<S3Place, 'prefix'>): Promise<void> {
  const client = createSdkClient(server)
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
  } catch (error) {
    if (!(error instanceof BucketAlreadyOwnedByYou)) throw error
  } finally {
    client.destroy()
  }
}

/** Amazon's own client, which shares nothing with ours but the words of the protocol. */
export const createSdkClient = ({
  endpoint,
  region,
  credentials,
}: Pick<S3Place, 'endpoint' | 'region' | 'credentials'>): S3Client =>
  new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })

let shared: Promise<string> | undefined

/** For those who start many processes: gives all of them one server. */
export async function shareRadosgw(): Promise<void> {
  if (process.env[SHARED] === undefined) shareServer(await startRadosgw())
}

/** The same with one that is there. */
export function shareServer({ endpoint }: TestObjectStore): void {
  process.env[SHARED] = endpoint
}

/** A place that nobody else uses, on the server that all tests share: of the whole run, or of this process. */
export async function createS3Place(): Promise<S3Place> {
  const known = process.env[SHARED]
  shared ??= known === undefined ? startRadosgw().then(({ endpoint }) => endpoint) : Promise.resolve(known)
  const prefix = `${randomUUID()}/`
  return { endpoint: await shared, bucket: BUCKET, prefix, region: REGION, credentials: KEYS }
}
