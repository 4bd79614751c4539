/**
 * `node bench/sftp.ts [--rounds N] [--large MiB] [--cipher NAME] [--folder DIR]`: uploads and downloads by OpenSSH's
 * `sftp`, on one connection and on two, in turn with OpenSSH's own server and the same cipher.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { type Daemon, startDaemon } from '../test/support/daemon.ts'
import { firstUser, sftpPort } from '../test/support/orbit.ts'
import { isInstalled } from '../test/support/tools.ts'
import { hold, printRow } from './contest.ts'
import { freePort } from './swift-node.ts'

const MiB = 1024 * 1024

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    large: { type: 'string', default: '1024' },
    cipher: { type: 'string', default: 'aes128-gcm@openssh.com' },
    folder: { type: 'string', default: join(import.meta.dirname, '..', '.cache', 'bench') },
  },
})
const large = Number(values.large)

/** A server, and the folder in it to write to. */
interface Server {
  readonly user: string
  readonly port: number
  readonly folder: string
}

mkdirSync(values.folder, { recursive: true })
const folder = await mkdtemp(join(values.folder, 'sftp-'))
const key = join(folder, 'id')

/** Bytes that nobody has stored before and that do not compress. */
async function newFile(name: string): Promise<string> {
  const path = join(folder, name)
  const pieces = function* () {
    for (let at = 0; at < large; at++) yield randomFillSync(Buffer.alloc(MiB))
  }
  await pipeline(Readable.from(pieces()), createWriteStream(path))
  return path
}

async function batch({ user, port }: Server, commands: string): Promise<void> {
  const options = [`Port=${port}`, `Ciphers=${values.cipher}`, 'StrictHostKeyChecking=no', 'LogLevel=ERROR']
    .concat([`UserKnownHostsFile=${join(folder, 'hosts')}`, `IdentityFile=${key}`, 'IdentitiesOnly=yes'])
    .flatMap((option) => ['-o', option])
  const child = spawn('sftp', [...options, '-b', '-', `${user}@127.0.0.1`], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  child.stdin.end(`${commands}\n`)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`sftp: ${commands} ended with ${code}`)
}

async function startOurs(daemon: Daemon): Promise<Server> {
  const { user, send } = await firstUser(daemon)
  await send('PUT', '/bench')
  await daemon.api('POST', '/1.0/ssh_keys', { public_key: readFileSync(`${key}.pub`, 'utf8') })
  return { user, port: sftpPort(daemon), folder: '/bench' }
}

/** OpenSSH's server with its own sftp, for whoever runs this. */
async function startTheirs(): Promise<Server & Disposable> {
  const port = await freePort()
  const hostKey = join(folder, 'host')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', hostKey])
  const config = join(folder, 'sshd_config')
  await writeFile(
    config,
    `Port ${port}
ListenAddress 127.0.0.1
HostKey ${hostKey}
AuthorizedKeysFile ${key}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
`,
  )
  mkdirSync(join(folder, 'theirs'))
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true })
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', config], { stdio: 'ignore' })
  await new Promise((resolve) => setTimeout(resolve, 500))
  const user = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim()
  return { user, port, folder: join(folder, 'theirs'), [Symbol.dispose]: () => void child.kill() }
}

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

/** Uploads files that are new to the server each time: making them is not measured. */
async function upload(server: Server, connections: number): Promise<number> {
  const files = await Promise.all(Array.from({ length: connections }, (_, n) => newFile(`up-${n}`)))
  const took = await seconds(() =>
    Promise.all(files.map((path, n) => batch(server, `put ${path} ${server.folder}/file-${n}`))),
  )
  for (const path of files) rmSync(path)
  return took
}

const download = (server: Server, connections: number): Promise<number> =>
  seconds(() =>
    Promise.all(
      Array.from({ length: connections }, (_, n) =>
        batch(server, `get ${server.folder}/file-${n} /dev/null`),
      ),
    ),
  )

try {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  await using daemon = await startDaemon({
    data: join(folder, 'data'),
    arguments: ['--sftp', '127.0.0.1:0'],
  })
  const ours = await startOurs(daemon)
  if (!isInstalled('sshd'))
    throw new Error('there is no sshd to compare with: apt-get install openssh-server')
  using theirs = await startTheirs()
  const rows: string[] = []
  for (const connections of [1, 2]) {
    for (const [name, work] of Object.entries({ upload, download })) {
      const contest = {
        name: `${name} of ${large} MiB, ${connections} connection${connections > 1 ? 's' : ''}`,
        ours: () => work(ours, connections),
        theirs: () => work(theirs, connections),
      }
      const verdict = await hold(contest, Number(values.rounds))
      const rateOf = (seconds: number) => `${Math.round((large * connections) / seconds)} MiB/s`
      rows.push(printRow(contest.name, verdict, rateOf))
    }
  }
  console.log(`${cpus().length} × ${cpus()[0]?.model}; Node ${process.version}; ${values.cipher}\n`)
  console.log('| | ours | OpenSSH | |\n|---|---|---|---|')
  console.log(rows.join('\n'))
} finally {
  await rm(folder, { recursive: true, force: true })
}
