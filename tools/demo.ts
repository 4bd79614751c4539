/**
 * `npm run demo`: the whole way of an image through the library, with the real daemon and the real command line, in
 * a folder that is gone afterwards. Exits 0 only if every download had the bytes of the image.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { styleText } from 'node:util'
import { createGzip } from 'node:zlib'
import { createRandom, fillLikeDisk } from '../test/support/random-disk.ts'
import { needs } from '../test/support/tools.ts'

const tools = needs('lz4', 'qemu-img')
if (tools.skip) throw new Error(`to verify what it downloads this ${tools.skip}`)
const ssh = needs('sftp')
if (ssh.skip && process.env.CI) throw new Error(`to fetch an image over SFTP this ${ssh.skip}`)

const MiB = 1024 * 1024
const root = join(import.meta.dirname, '..')
const folder = await mkdtemp(join(tmpdir(), 'image-library-demo-'))
const at = (name: string) => join(folder, name)

const say = (text: string) => console.log(styleText('bold', `\n${text}`))

/** A disk with a boot sector and a partition; half of it is data. */
async function makeImage(): Promise<string> {
  const disk = Buffer.alloc(48 * MiB)
  fillLikeDisk(disk.subarray(MiB, 24 * MiB), createRandom(1))
  disk.write('This is where a boot loader would be.', 3, 'latin1')
  disk.set([0x80, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x78, 1, 0], 446)
  disk.set([0x55, 0xaa], 510)
  await writeFile(at('disk.raw'), disk)
  await pipeline(
    createReadStream(at('disk.raw')),
    createGzip({ level: 1 }),
    createWriteStream(at('disk.raw.gz')),
  )
  return sha256(disk)
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

async function serve(): Promise<{ url: string; close: () => void }> {
  const server = createServer(async (_request, response) => {
    response.writeHead(200, { 'content-length': (await stat(at('disk.raw.gz'))).size })
    await pipeline(createReadStream(at('disk.raw.gz')), response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return { url: `http://127.0.0.1:${port}/disk.raw.gz`, close: () => server.close() }
}

/** Starts the daemon on a free port and waits until it listens. */
async function startLibrary() {
  const child = spawn(
    join(root, 'bin/image-library'),
    [
      'serve',
      '--data',
      at('data'),
      '--http',
      '127.0.0.1:0',
      '--sftp',
      '127.0.0.1:0',
      '--allow-source',
      '127.0.0.0/8',
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  child.stderr.on('data', (chunk) => (output += chunk))
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      output += chunk
      if (/bin\/brightbox images list/.test(output)) resolve()
    })
    child.once('exit', () => reject(new Error(`the library did not start:\n${output}`)))
  })
  return { child, sftpPort: /sftp:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1] ?? '' }
}

/** Runs one command as a user would, shows both sides, and gives back what it printed. */
async function brightbox(...words: string[]): Promise<string> {
  console.log(styleText('cyan', `$ brightbox ${words.join(' ')}`))
  const child = spawn(join(root, 'bin/brightbox'), words, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, BRIGHTBOX_CONFIG: at('data/brightbox.ini') },
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
    process.stdout.write(chunk)
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`brightbox ${words[0]} ${words[1]} ended with code ${code}`)
  return output
}

/** Gets the raw disk out of a download with the format's own tool. */
function open(command: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', command], { cwd: folder })
  if (status !== 0) throw new Error(`${command}: ${stderr}`)
}

async function verify(expected: string): Promise<void> {
  open('lz4 -dqf image.lz4 from-lz4.raw')
  open('qemu-img check -q image.qcow2 && qemu-img convert -O raw image.qcow2 from-qcow2.raw')
  for (const name of ['image.raw', 'from-lz4.raw', 'from-qcow2.raw']) await compare(name, expected)
}

async function compare(name: string, expected: string): Promise<void> {
  const sum = createHash('sha256')
  for await (const chunk of createReadStream(at(name))) sum.update(chunk)
  const digest = sum.digest('hex')
  if (digest !== expected) throw new Error(`${name} is ${digest}, not ${expected}`)
  console.log(`${name.padEnd(15)} ${digest}  as published`)
}

const idIn = (output: string): string => {
  const id = /img-[0-9a-z]{5}/.exec(output)?.[0]
  if (!id) throw new Error('the register command named no image')
  return id
}

/** Fetches an image over SFTP with a key of its own; the library's host key is as new as the folder. */
async function fetchOverSftp(id: string, port: string): Promise<void> {
  open('ssh-keygen -q -t ed25519 -N "" -f key')
  const client = /client_id\s*=\s*(\S+)/.exec(await readFile(at('data/brightbox.ini'), 'utf8'))?.[1]
  await brightbox('ssh-keys', 'add', at('key.pub'))
  const trust = '-o StrictHostKeyChecking=no -o UserKnownHostsFile=known_hosts'
  const source = `${client}@127.0.0.1:images/${id}`
  const command = `sftp -q -P ${port} -i key -o BatchMode=yes ${trust} ${source} over-sftp.lz4`
  console.log(styleText('cyan', `$ sftp -P ${port} ${source} over-sftp.lz4`))
  open(`${command} && lz4 -dqf over-sftp.lz4 over-sftp.raw`)
}

const expected = await makeImage()
const source = await serve()
const { child: library, sftpPort } = await startLibrary()
try {
  say('Register an image from a URL and wait for it')
  const output = await brightbox(
    'image',
    'register',
    '--url',
    source.url,
    '-n',
    'demo',
    '--arch=x86_64',
    '--wait',
  )
  const id = idIn(output)

  say('Look at it')
  await brightbox('images', 'list', '--status=private')
  await brightbox('image', 'show', id)

  say('Download it in every form and compare')
  for (const format of ['lz4', 'raw', 'qcow2']) {
    await brightbox('image', 'download', '--format', format, '-o', at(`image.${format}`), id)
  }
  await verify(expected)

  say('The way of large images: into Orbit, a temporary URL, registered from there')
  await brightbox('orbit', 'put', at('disk.raw'), 'uploads')
  const url = (await brightbox('orbit', 'tempurl', 'uploads/disk.raw')).trim()
  const words = ['image', 'register', '--url', url, '-n', 'large', '--arch=x86_64', '--wait']
  const large = idIn(await brightbox(...words))
  await brightbox('orbit', 'rm', 'uploads/disk.raw')
  if (ssh.skip) say(`Fetching it over SFTP is left out: it ${ssh.skip}`)
  else {
    say('Fetch it over SFTP and compare')
    await fetchOverSftp(large, sftpPort)
    await compare('over-sftp.raw', expected)
  }

  say('Deprecate it, then destroy it')
  await brightbox('images', 'update', '--deprecated=true', id)
  await brightbox('images', 'destroy', id)
  await brightbox('images', 'list')
  say('Done: what came back is what was published.')
} finally {
  library.kill('SIGTERM')
  await once(library, 'exit')
  source.close()
  await rm(folder, { recursive: true, force: true })
}
