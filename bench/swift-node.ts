/** An OpenStack Swift of Debian's packages on loopback, one node, one replica: what Orbit is measured against. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isInstalled } from '../test/support/tools.ts'

const PROGRAMS = ['proxy', 'account', 'container', 'object'].map((name) => `swift-${name}-server`)
const PIPELINE =
  'catch_errors gatekeeper cache listing_formats bulk tempurl s3api tempauth ' +
  'copy slo dlo versioned_writes symlink proxy-server'
/** As many as the machine has cores would be more than its one disk has use for. */
const PROXY_WORKERS = 2
const START_LIMIT_MS = 20_000

export interface SwiftNode extends AsyncDisposable {
  /** Its S3 API, for which user and key are the credentials. */
  readonly s3: string
  /** Where to log in, as whom. */
  readonly auth: string
  readonly user: string
  readonly key: string
}

/** The Debian packages that it takes and this machine lacks. */
export function missingSwift(): string[] {
  const missing = PROGRAMS.filter((program) => !isInstalled(program)).map((name) => name.slice(0, -7))
  return isInstalled('memcached') ? missing : [...missing, 'memcached']
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

/** @param parent a folder on the file system to measure */
export async function startSwift(parent: string): Promise<SwiftNode> {
  const folder = await mkdtemp(join(parent, 'swift-'))
  await mkdir(join(folder, 'disk', 'sda1'), { recursive: true })
  const children: ReturnType<typeof spawn>[] = []
  const run = (program: string, ...words: string[]) => {
    children.push(spawn(program, words, { stdio: 'ignore', detached: true }))
  }
  const user = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim()
  const common = (port: number) => `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
user = ${user}
swift_dir = ${folder}
devices = ${folder}/disk
mount_check = false
log_address = ${folder}/no-log
log_level = ERROR
`
  for (const name of ['account', 'container', 'object']) {
    const port = await freePort()
    const builder = join(folder, `${name}.builder`)
    const ring = (...words: string[]) =>
      execFileSync('swift-ring-builder', [builder, ...words], { stdio: 'ignore' })
    ring('create', '6', '1', '0')
    ring('add', `r1z1-127.0.0.1:${port}/sda1`, '100')
    ring('rebalance')
    const config = join(folder, `${name}.conf`)
    await writeFile(
      config,
      `${common(port)}workers = 1
[pipeline:main]
pipeline = ${name}-server
[app:${name}-server]
use = egg:swift#${name}
`,
    )
    run(`swift-${name}-server`, config)
  }
  const [memcached, port] = [await freePort(), await freePort()]
  run('memcached', '-u', user, '-l', '127.0.0.1', '-p', String(memcached))
  const proxy = join(folder, 'proxy.conf')
  await writeFile(
    proxy,
    `${common(port)}workers = ${PROXY_WORKERS}
[pipeline:main]
pipeline = ${PIPELINE}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_bench_bench = bench .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${memcached}
${['catch_errors', 'gatekeeper', 'listing_formats', 'bulk', 'tempurl', 'copy', 'slo', 'dlo', 'symlink']
  .map((name) => `[filter:${name}]\nuse = egg:swift#${name}`)
  .join('\n')}
`,
  )
  run('swift-proxy-server', proxy)
  const node: SwiftNode = {
    s3: `http://127.0.0.1:${port}`,
    auth: `http://127.0.0.1:${port}/auth/v1.0`,
    user: 'bench:bench',
    key: 'bench',
    async [Symbol.asyncDispose]() {
      for (const { pid } of children) {
        try {
          if (pid) process.kill(-pid, 'SIGKILL')
        } catch {
          // It is gone already.
        }
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
  await answers(node)
  return node
}

async function answers({ auth, user, key }: SwiftNode): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS
  for (;;) {
    const response = await fetch(auth, { headers: { 'x-auth-user': user, 'x-auth-key': key } }).catch(
      () => undefined,
    )
    if (response?.ok) return
    if (Date.now() > deadline) throw new Error('the Swift node does not answer')
    await delay(100)
  }
}
