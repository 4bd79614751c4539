import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { postgresFolder } from './tools.ts'

/** Says where the server of a whole run of tests is. */
const SHARED = 'TEST_POSTGRES'
const START_MS = 60_000
/** The server's user of that name may do everything in it. */
const USER = 'image-library'
const MIGRATED = 'migrated'

/** A PostgreSQL server that nobody else uses; it ends with this process, however that ends. */
export interface TestServer extends AsyncDisposable {
  /** Of its socket and its data. */
  readonly folder: string
  /** As that of a power failure, unless `mode` says otherwise. */
  restart(mode?: 'immediate' | 'fast'): void
  stop(): void
  start(): void
  /** To the server and all its processes. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
}

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
}

export const urlOf = (folder: string, database: string): string =>
  `postgres://${USER}@/${database}?host=${encodeURIComponent(folder)}`

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${name}:`))?.split(':') ?? []
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error('there is no user to run PostgreSQL as')
}

/** Not for what is kept: nothing is synced. Words sort otherwise than their bytes do, as on many real servers. */
const SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  listen_addresses: "''",
  max_connections: 200,
}

/** Ends the server, and all that is left of it, when we close its standard input, or end. */
const SUPERVISOR = `
set -e
bin=$1 data=$2/data settings=$3
"$bin/initdb" -D "$data" -U ${USER} --auth trust --encoding UTF8 --locale C.UTF-8 \\
  --locale-provider icu --icu-locale en-US --no-sync > "$2/initdb.log" 2>&1 || { cat "$2/initdb.log" >&2; exit 1; }
printf '%s' "$settings" >> "$data/postgresql.conf"
"$bin/pg_ctl" -D "$data" -w -l "$2/server.log" start > /dev/null || { cat "$2/server.log" >&2; exit 1; }
echo started
cat > /dev/null
# Whoever read what we say may have ended, too; to write would end us.
exec > /dev/null 2>&1
set +e
pid=$(head -n 1 "$data/postmaster.pid")
kill -CONT $pid $(cat /proc/$pid/task/$pid/children)
"$bin/pg_ctl" -D "$data" -w -m immediate stop > /dev/null
rm -rf "$2"
`

export async function startPostgres(
  settings: Readonly<Record<string, string | number>> = {},
): Promise<TestServer> {
  const bin = postgresFolder()
  if (bin === undefined) throw new Error('there is no PostgreSQL on this machine')
  const folder = mkdtempSync(join(tmpdir(), 'pg-'))
  const user = unprivileged()
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
  const lines = Object.entries({ ...SETTINGS, unix_socket_directories: `'${folder}'`, ...settings })
  const text = lines.map(([name, value]) => `${name} = ${value}\n`).join('')
  // In a session of its own, so that what interrupts us does not interrupt it in its clearing up.
  const child = spawn('sh', ['-c', SUPERVISOR, 'sh', bin, folder, text], {
    ...user,
    cwd: folder,
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [answer] = await Promise.race([
    once(child.stdout, 'data', { signal: AbortSignal.timeout(START_MS) }),
    once(child, 'exit').then(() => ['ended']),
  ])
  if (String(answer) !== 'started\n') throw new Error('PostgreSQL does not start')
  child.unref()
  for (const stream of [child.stdin, child.stdout])
    if ('unref' in stream) (stream as { unref(): void }).unref()
  const control = (...words: string[]) => {
    const all = ['-D', join(folder, 'data'), '-w', '-l', join(folder, 'server.log'), ...words]
    const { status, stdout } = spawnSync(join(bin, 'pg_ctl'), all, { ...user, cwd: folder, encoding: 'utf8' })
    if (status !== 0) throw new Error(`pg_ctl ${words.join(' ')}: ${stdout}`)
  }
  return {
    folder,
    restart: (mode = 'immediate') => control('restart', '-m', mode),
    stop: () => control('stop', '-m', 'immediate'),
    start: () => control('start'),
    signal(name) {
      const pid = Number(readFileSync(join(folder, 'data/postmaster.pid'), 'utf8').split('\n')[0])
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
      for (const each of [pid, ...children.map(Number)]) process.kill(each, name)
    },
    async [Symbol.asyncDispose]() {
      child.ref()
      const ended = child.exitCode === null ? once(child, 'exit') : undefined
      child.stdin.end()
      await ended
    },
  }
}

let shared: Promise<string> | undefined

/** The folder of the server that all tests share: of the whole run, or of this process. */
function sharedServer(): Promise<string> {
  const known = process.env[SHARED]
  shared ??= known === undefined ? startPostgres().then(({ folder }) => folder) : Promise.resolve(known)
  return shared
}

/** For whoever starts many processes with tests: gives all of them one server, which ends with this process. */
export async function sharePostgres(): Promise<void> {
  process.env[SHARED] ??= (await startPostgres()).folder
}

async function administer<T>(folder: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(urlOf(folder, 'postgres'))
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const migrated = new Map<string, Promise<void>>()

/** Makes the database that others are copied from, once for all processes. */
function makeMigrated(folder: string): Promise<void> {
  const making =
    migrated.get(folder) ??
    administer(folder, async (client) => {
      const isThere = async () =>
        (await client.query('select 1 from pg_database where datname = $1', [MIGRATED])).rows.length > 0
      if (await isThere()) return
      await client.query('select pg_advisory_lock(1)')
      if (await isThere()) return
      await client.query('drop database if exists half with (force)')
      await client.query('create database half')
      // Not above, so that whoever only starts the server does not load the program.
      const { openCatalog } = await import('#control/catalog/catalog.ts')
      await (await openCatalog({ url: urlOf(folder, 'half') }))[Symbol.asyncDispose]()
      await client.query(`alter database half rename to ${MIGRATED}`)
    })
  migrated.set(folder, making)
  return making
}

let count = 0

/** A database of its own, with the tables of a catalog unless it is to be empty; dropped in the end. */
export async function createDatabase({
  empty = false,
  server,
}: {
  empty?: boolean
  server?: TestServer
} = {}): Promise<TestDatabase> {
  const folder = server?.folder ?? (await sharedServer())
  if (!empty) await makeMigrated(folder)
  const name = `test_${process.pid}_${count++}`
  await administer(folder, (client) =>
    client.query(`create database ${name} template ${empty ? 'template1' : MIGRATED}`),
  )
  return {
    url: urlOf(folder, name),
    async [Symbol.asyncDispose]() {
      await administer(folder, (client) => client.query(`drop database if exists ${name} with (force)`))
    },
  }
}
