import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { PIN_MS } from '#control/library/overdue.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser, type OrbitUser } from '../support/orbit.ts'
import { Qcow2Writer } from '../support/qcow2-writer.ts'
import { fillLikeDisk } from '../support/random-disk.ts'
import { download, execute, type ImageJson, settled, sha256Of } from '../support/registration.ts'
import { file, startWebServer, type WebServer } from '../support/web-server.ts'

const MiB = 1024 * 1024
const CLUSTER = 65_536
const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'image-library')
const PRELOADED = new URL('../support/die-at-step.ts', import.meta.url)
const KEY = 'the key of temporary URLs'

/** A disk that images are made of; several images are, so that their blocks are shared. */
interface Content {
  readonly raw: Buffer
  readonly sha256: string
}

/** What must be true of an image by now, as far as anybody was answered. */
interface Known {
  readonly content: Content
  readonly isUpload: boolean
  id: string | undefined
  /** It was asked to go: `asked` where no answer came. */
  goes: 'no' | 'asked' | 'yes'
}

/** When a process is to die: at a step, see die-at-step.ts, or after so many milliseconds. */
export interface Death {
  readonly step?: number
  readonly ms?: number
}

/** A library whose processes die, what was answered by it, and whether that is true. */
export class MortalLibrary implements AsyncDisposable {
  readonly #random: () => number
  readonly #folder: string
  readonly #web: WebServer
  readonly #contents: readonly Content[]
  readonly #images = new Map<string, Known>()
  #daemon: Daemon | undefined
  #isDead: Promise<unknown> = Promise.resolve()
  #count = 0

  static async open(random: () => number): Promise<MortalLibrary> {
    return new MortalLibrary(random, await mkdtemp(join(tmpdir(), 'kills-')), await startWebServer())
  }

  constructor(random: () => number, folder: string, web: WebServer) {
    this.#random = random
    this.#folder = folder
    this.#web = web
    this.#contents = makeContents(random)
    for (const [index, { raw }] of this.#contents.entries()) {
      web.on(`/raw-${index}`, file(raw))
      web.on(`/qcow2-${index}`, file(toQcow2(raw)))
    }
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  get #report(): string {
    return join(this.#folder, 'steps')
  }

  /** The step at which the daemon died, or how many steps it took. */
  readonly lastWords = () => readFile(this.#report, 'utf8').catch(() => 'killed')

  /** @returns false where it was dead before it listened */
  async start({ step, ms }: Death = {}): Promise<boolean> {
    await rm(this.#report, { force: true })
    const environment = step === undefined ? {} : this.#mortal(step, this.#report)
    try {
      this.#daemon = await startDaemon({ data: this.#data, environment })
    } catch (error) {
      if (!/died at step/.test(await this.lastWords())) throw error
      return false
    }
    const { process } = this.#daemon
    this.#isDead =
      process.exitCode === null && process.signalCode === null ? once(process, 'exit') : Promise.resolve()
    if (ms !== undefined) setTimeout(() => process.kill('SIGKILL'), ms)
    return true
  }

  #mortal = (step: number, report: string) => ({
    DIE_AT: String(step),
    STEPS_FILE: report,
    NODE_OPTIONS: `--import=${PRELOADED}`,
  })

  /** Works on the library until the work is done or the daemon dies; then it is dead. */
  async workUntilDeath(): Promise<void> {
    const daemon = this.#alive()
    const work = Promise.allSettled([
      this.#registerFromUrl(daemon),
      this.#upload(daemon),
      this.#registerObject(daemon),
      this.#destroyOne(daemon),
      this.#operate(daemon),
    ])
    const outcomes = await work
    // Whoever asks a dead daemon is not answered.
    await Promise.race([this.#settleAll(daemon).catch(() => {}), this.#isDead, delay(2000)])
    daemon.process.kill('SIGKILL')
    await this.#isDead
    for (const outcome of outcomes)
      if (outcome.status === 'rejected' && outcome.reason instanceof assert.AssertionError)
        throw outcome.reason
  }

  #alive(): Daemon {
    assert.ok(this.#daemon)
    return this.#daemon
  }

  #pick<T>(things: readonly T[]): T {
    return things[Math.floor(this.#random() * things.length)] as T
  }

  #newImage(isUpload: boolean) {
    const name = `image-${this.#count++}`
    const index = Math.floor(this.#random() * this.#contents.length)
    const content = this.#contents[index]
    assert.ok(content)
    const known: Known = { content, isUpload, id: undefined, goes: 'no' }
    this.#images.set(name, known)
    return { name, known, index }
  }

  async #register(daemon: Daemon, name: string, known: Known, more: object): Promise<string> {
    const request = { name, arch: 'x86_64', ...more }
    const { status, body } = await daemon.api<ImageJson>('POST', '/1.0/images', request)
    assert.equal(status, 201, JSON.stringify(body))
    known.id = body.id
    return body.id
  }

  async #registerFromUrl(daemon: Daemon): Promise<void> {
    const form = this.#pick(['raw', 'qcow2'])
    const { name, known, index } = this.#newImage(false)
    await this.#register(daemon, name, known, { http_url: this.#web.url(`/${form}-${index}`) })
  }

  async #upload(daemon: Daemon): Promise<void> {
    const { name, known } = this.#newImage(true)
    const id = await this.#register(daemon, name, known, { upload: true })
    const response = await fetch(`${daemon.url}/1.0/images/${id}/upload`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${daemon.token}` },
      body: known.content.raw,
    })
    assert.equal(response.status, 202, await response.text())
  }

  /** Puts an object, perhaps over one, and registers it from there. */
  async #registerObject(daemon: Daemon): Promise<void> {
    const { name, known, index } = this.#newImage(false)
    const user = await firstUser(daemon)
    await user.send('POST', '', { headers: { 'x-account-meta-temp-url-key': KEY } })
    await user.send('PUT', '/kills')
    const put = await user.send('PUT', `/kills/disk-${index}`, { body: known.content.raw })
    assert.equal(put.status, 201, put.text)
    await this.#register(daemon, name, known, { http_url: temporaryUrl(user, `/kills/disk-${index}`) })
  }

  async #destroyOne(daemon: Daemon): Promise<void> {
    const standing = [...this.#images.values()].filter(({ id, goes }) => id !== undefined && goes !== 'yes')
    if (standing.length < 4) return
    await this.#destroy(daemon, this.#pick(standing))
  }

  async #destroy(daemon: Daemon, known: Known): Promise<void> {
    known.goes = 'asked'
    const { status, body } = await daemon.api('DELETE', `/1.0/images/${known.id}`)
    assert.ok(status === 202 || status === 404 || status === 409, `${status} ${JSON.stringify(body)}`)
    if (status !== 409) known.goes = 'yes'
  }

  /** An operator's command beside the daemon, which mostly dies too. */
  async #operate(daemon: Daemon): Promise<void> {
    const { account } = await firstUser(daemon)
    const words = this.#pick([
      ['collect'],
      ['collect', '--dry-run'],
      ['check', '--quarantine'],
      ['account', 'create', `account-${this.#count++}`],
      ['client', 'create', '--account', account],
    ])
    const isMortal = this.#random() < 0.7
    const environment = isMortal ? this.#mortal(1 + Math.floor(this.#random() ** 2 * 60), '/dev/null') : {}
    try {
      await execute(PROGRAM, [...words, '--data', this.#data], { env: { ...process.env, ...environment } })
    } catch (error) {
      const { signal, stderr = '' } = error as { signal?: string; stderr?: string }
      assert.ok(isMortal && signal === 'SIGKILL', `${words.join(' ')}: ${stderr} ${error}`)
    }
  }

  async #list(daemon: Daemon): Promise<ImageJson[]> {
    const { status, body } = await daemon.api<ImageJson[]>('GET', '/1.0/images')
    assert.equal(status, 200)
    return body.filter(({ status: is }) => is !== 'deleted')
  }

  async #settleAll(daemon: Daemon): Promise<void> {
    for (const image of await this.#list(daemon)) {
      if (image.status === 'creating' && !isWaiting(image)) await settled(daemon, image.id)
    }
  }

  /** Checks that all that was answered is so; the daemon lives. @returns images that are available */
  async assertTrue(): Promise<number> {
    const daemon = this.#alive()
    await this.#settleAll(daemon)
    const listed = new Map((await this.#list(daemon)).map((image) => [image.name, image]))
    let available = 0
    for (const [name, known] of this.#images) {
      const image = listed.get(name)
      if (!image || image.status === 'deleting') {
        assert.ok(known.id === undefined || known.goes !== 'no', `${name} (${known.id}) was lost`)
        if (!image) this.#images.delete(name)
        continue
      }
      known.id = image.id
      assert.notEqual(known.goes, 'yes', `${name} was destroyed and is ${image.status}`)
      known.goes = 'no'
      if (known.isUpload && isWaiting(image)) {
        // Its client died with the daemon and does not go on.
        await this.#destroy(daemon, known)
        continue
      }
      assert.equal(image.status, 'available', `${name}: ${JSON.stringify(image)}`)
      assert.equal(await sha256Of(await download(daemon, image.id, 'raw')), known.content.sha256, name)
      available++
    }
    const told = new Set(this.#images.keys())
    assert.deepEqual(
      [...listed.keys()].filter((name) => !told.has(name)),
      [],
    )
    return available
  }

  /** Takes everything away and checks that nothing is left. */
  async assertNothingLeft(): Promise<void> {
    const daemon = this.#alive()
    const operate = (...words: string[]) => execute(PROGRAM, [...words, '--data', this.#data])
    await operate('check')
    for (const known of this.#images.values()) if (known.id !== undefined) await this.#destroy(daemon, known)
    for (const { id } of await this.#list(daemon))
      while ((await daemon.api('GET', `/1.0/images/${id}`)).status !== 404) await delay(20)
    const user = await firstUser(daemon)
    const objects = (await user.send('GET', '/kills')).text.split('\n').filter(Boolean)
    for (const name of objects) await user.send('DELETE', `/kills/${name}`)
    // What a process was reading as it was killed counts as being read until its pin runs out.
    const patience = performance.now() + PIN_MS + 30_000
    for (;;) {
      await operate('collect')
      await operate('check')
      const left = await this.#listLeft()
      if (left.length > 1 && performance.now() < patience) {
        await delay(1000)
        continue
      }
      // What the store counts collections by stays.
      assert.deepEqual(left, [join(this.#data, 'store/generation')])
      return
    }
  }

  async #listLeft(): Promise<string[]> {
    const left: string[] = []
    for (const folder of ['store', 'spool']) {
      const place = join(this.#data, folder)
      const entries = await readdir(place, { recursive: true, withFileTypes: true }).catch(() => [])
      const files = entries.filter((entry) => entry.isFile())
      left.push(...files.map(({ parentPath, name }) => join(parentPath, name)))
    }
    return left
  }

  async end(): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]()
    this.#daemon = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
    await this.#web[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Whether an upload waits for its client. */
const isWaiting = ({ progress }: ImageJson) => progress?.phase === 'uploading'

function temporaryUrl({ storage, account }: OrbitUser, path: string): string {
  const expires = Math.floor(Date.now() / 1000) + 3600
  const signed = `GET\n${expires}\n/v1/${account}${path}`
  const signature = createHmac('sha256', KEY).update(signed).digest('hex')
  return `${storage}${path}?temp_url_sig=${signature}&temp_url_expires=${expires}`
}

/** Disks that have blocks of each other, and holes. */
function makeContents(random: () => number): Content[] {
  const shared = Buffer.alloc(2 * MiB)
  fillLikeDisk(shared, random)
  return Array.from({ length: 4 }, (_, index) => {
    const raw = Buffer.alloc((4 + index) * MiB)
    shared.copy(raw)
    fillLikeDisk(raw.subarray(3 * MiB), random)
    return { raw, sha256: createHash('sha256').update(raw).digest('hex') }
  })
}

function toQcow2(raw: Buffer): Uint8Array {
  const qcow2 = new Qcow2Writer({ size: raw.length })
  for (let cluster = 0; cluster < raw.length / CLUSTER; cluster++) {
    const bytes = raw.subarray(cluster * CLUSTER, (cluster + 1) * CLUSTER)
    if (cluster % 3 === 0) qcow2.data(cluster, bytes)
    else qcow2.packDeflated(cluster, bytes)
  }
  return qcow2.build()
}
