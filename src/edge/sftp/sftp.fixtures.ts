import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { OrbitDeps } from '#control/orbit/deps.ts'
import { openOrbit } from '#control/orbit/orbit.fixtures.ts'
import { openTemporary } from '#data/content/content.fixtures.ts'
import type { Caller } from '#model/orbit.ts'
import { createDesk, type DeskDeps, type OpenDesk } from './desk.ts'
import { PacketCutter } from './framing.ts'
import { createLoginGuard } from './login-guard.ts'
import { filesOf } from './rpc-methods.ts'
import { SftpSession, type SftpSessionDeps } from './sftp-session.ts'
import { FieldReader, OPEN, REQUEST, STATUS, uint32Field, uint64Fields } from './wire.ts'

export const CREATE = OPEN.write | OPEN.create | OPEN.truncate

/** Lets in `owner`, `other` and `storage`, a client of the owner's account for Orbit only, with the key `secret`. */
function fakeAuth(callers: Readonly<Record<string, Caller>>) {
  const stays = new Set<AbortController>()
  const refused = { ok: false, error: 'invalid_client', description: 'no' } as const
  const identify = (user: string) => {
    const { session, groups } = callers[user] ?? {}
    return session && groups ? { ok: true as const, value: { session, groups } } : refused
  }
  const auth: DeskDeps['auth'] = {
    stays: {
      enter() {
        const stay = new AbortController()
        stays.add(stay)
        return { signal: stay.signal, [Symbol.dispose]: () => void stays.delete(stay) }
      },
    },
    orbit: {
      login: async ({ user, key }) => {
        const identity = key === 'secret' ? identify(user) : refused
        if (!identity.ok) return identity
        return {
          ok: true,
          value: { token: user, expiresIn: 7200, accountId: identity.value.session.accountId },
        }
      },
      loginByKey: async ({ user }) => identify(user),
      identify: async (token) => identify(token),
    },
  }
  return { auth, stays }
}

/** Orbit on a real content store in an empty folder, with one container, `c`. */
export async function openFixture(t: TestContext, change: Partial<OrbitDeps> = {}) {
  const { contents, kept, storePlace, spoolDirectory } = await openTemporary(t)
  const orbit = await openOrbit({ contents, ...change })
  t.after(() => orbit[Symbol.asyncDispose]())
  const { owner, other, account } = orbit
  const clientId = 'cli-store'
  const storage: Caller = {
    ...owner,
    session: owner.session && { ...owner.session, clientId, permissions: 'storage' },
    groups: [account, `${account}:${clientId}`],
  }
  const guard = createLoginGuard({ perLogin: 8, now: Date.now })
  const { auth, stays } = fakeAuth({ owner, other, storage })
  const openDesk = (): OpenDesk =>
    createDesk({
      auth,
      orbit: orbit.orbit,
      keep: async () => ({ [Symbol.asyncDispose]: async () => {} }),
      guard,
    })
  const at = (object: string) => ({ account, container: 'c', object })
  return {
    ...{
      contents,
      kept,
      storePlace,
      spoolDirectory,
      orbit: orbit.orbit,
      owner,
      account,
      auth,
      stays,
      guard,
      openDesk,
      deps: orbit.deps,
      catalog: orbit.catalog,
      at,
    },
    put: orbit.put,
    names: orbit.names,
    info: (name: string) => orbit.orbit.objects.show(owner, at(name)),
    async read(name: string): Promise<Buffer> {
      await using found = await orbit.orbit.objects.locate(owner, at(name))
      await using reader = await contents.openReader(found.parts)
      const chunks: Buffer[] = []
      for await (const chunk of reader.read(0, reader.size, new AbortController().signal))
        chunks.push(Buffer.from(chunk))
      return Buffer.concat(chunks)
    },
    async connect(user = 'owner', change: Partial<SftpSessionDeps> = {}): Promise<TestClient> {
      const desk = openDesk()
      t.after(() => desk[Symbol.asyncDispose]())
      const login = await desk.loginByPassword(user, 'secret', '127.0.0.1')
      assert.ok(login !== undefined)
      const client = new TestClient({ files: filesOf(desk, login), contents, ...change })
      t.after(() => client.drop())
      await client.start()
      return client
    },
  }
}

export type Fixture = Awaited<ReturnType<typeof openFixture>>

export interface Reply {
  readonly type: number
  readonly fields: FieldReader
}

/** A client without SSH. */
export class TestClient {
  readonly bugs: unknown[] = []
  /** Ids in the order in which they were answered. */
  readonly answered: number[] = []
  readonly session: SftpSession
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  /** Lets a test hold up answers. */
  room: Promise<void> | undefined
  isPressed = false
  #last = 0

  constructor(deps: Pick<SftpSessionDeps, 'files' | 'contents'> & Partial<SftpSessionDeps>) {
    const cutter = new PacketCutter((packet) => this.#receive(packet))
    this.session = new SftpSession({
      handles: { max: 256, open: 0 },
      now: Date.now,
      // Whoever still reads it is found out.
      onTaken: (packet) => void packet.fill(0xee),
      onBug: (error) => this.bugs.push(error),
      onPressure: (tooMuch) => {
        this.isPressed = tooMuch
      },
      signal: new AbortController().signal,
      outlet: {
        // The server's memory is used again.
        send: (packet) => cutter.push(Buffer.from(packet)),
        takeMemory: () => Buffer.alloc(300_000),
        isFull: () => this.room !== undefined,
        whenRoom: async () => this.room,
      },
      ...deps,
    })
  }

  async start(): Promise<void> {
    const version = new Promise<Reply>((resolve) => this.#waiting.set(-1, resolve))
    this.session.receive(Buffer.concat([Buffer.from([REQUEST.init]), uint32Field(3)]))
    await version
  }

  #receive(packet: Buffer): void {
    const fields = new FieldReader(packet, 1)
    const type = packet[0] ?? 0
    const id = type === 2 ? -1 : fields.uint32()
    this.answered.push(id)
    this.#waiting.get(id)?.({ type, fields })
    this.#waiting.delete(id)
  }

  request(type: number, ...fields: readonly (string | Uint8Array)[]): Promise<Reply> {
    const id = ++this.#last
    const reply = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve))
    const parts = fields.map((field) => (typeof field === 'string' ? text(field) : field))
    this.session.receive(Buffer.concat([Buffer.from([type]), uint32Field(id), ...parts]))
    return reply
  }

  async status(type: number, ...fields: readonly (string | Uint8Array)[]): Promise<number> {
    return statusOf(await this.request(type, ...fields))
  }

  /** @throws an error whose message begins with the status */
  async done(type: number, ...fields: readonly (string | Uint8Array)[]): Promise<void> {
    const { type: kind, fields: reply } = await this.request(type, ...fields)
    assert.equal(kind, 101)
    const code = reply.uint32()
    if (code !== STATUS.ok) throw new Error(`${code} ${reply.text()}`)
  }

  async open(path: string, flags: number = OPEN.read): Promise<Buffer> {
    const reply = await this.request(REQUEST.open, path, uint32Field(flags), NOTHING)
    return handleOf(reply)
  }

  write(handle: Buffer, offset: number, data: string | Buffer): Promise<void> {
    return this.done(REQUEST.write, text(handle), uint64Fields(offset), text(data))
  }

  async read(handle: Buffer, offset: number, length: number): Promise<Buffer | undefined> {
    const { type, fields } = await this.request(
      REQUEST.read,
      text(handle),
      uint64Fields(offset),
      uint32Field(length),
    )
    if (type === 103) return fields.bytes()
    assert.equal(fields.uint32(), STATUS.eof, fields.text())
    return undefined
  }

  close(handle: Buffer): Promise<void> {
    return this.done(REQUEST.close, text(handle))
  }

  async put(path: string, data: string | Buffer, flags: number = CREATE): Promise<void> {
    const handle = await this.open(path, flags)
    await this.write(handle, 0, data)
    await this.close(handle)
  }

  async get(path: string): Promise<string> {
    const handle = await this.open(path)
    const data = await this.read(handle, 0, 200_000)
    await this.close(handle)
    return String(data ?? '')
  }

  /** `d` for a directory, else the size; undefined where there is nothing. */
  async stat(path: string): Promise<'d' | number | undefined> {
    return statOf(await this.request(REQUEST.stat, path))
  }

  async mtime(path: string): Promise<number> {
    const { fields } = await this.request(REQUEST.lstat, path)
    fields.uint32()
    fields.uint64()
    for (let skipped = 0; skipped < 4; skipped++) fields.uint32()
    return fields.uint32()
  }

  async list(path: string): Promise<string[]> {
    const handle = handleOf(await this.request(REQUEST.opendir, path))
    const names: string[] = []
    for (;;) {
      const { type, fields } = await this.request(REQUEST.readdir, text(handle))
      if (type !== 104) break
      for (let count = fields.uint32(); count > 0; count--) {
        const name = String(fields.bytes())
        names.push(fields.text().startsWith('d') ? `${name}/` : name)
        for (let skipped = 0; skipped < 8; skipped++) fields.uint32()
      }
    }
    await this.close(handle)
    return names.sort()
  }

  /** The connection breaks. */
  drop(): Promise<void> {
    return this.session.end()
  }
}

/** Attributes that say nothing. */
export const NOTHING = uint32Field(0)

export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([uint32Field(bytes.length), bytes])
}

export function statusOf({ type, fields }: Reply): number {
  assert.equal(type, 101)
  return fields.uint32()
}

/** @throws an error whose message begins with the status */
export function handleOf({ type, fields }: Reply): Buffer {
  if (type !== 102) throw new Error(`${fields.uint32()} ${fields.text()}`)
  return Buffer.from(fields.bytes())
}

export function statOf({ type, fields }: Reply): 'd' | number | undefined {
  if (type !== 105) {
    assert.equal(fields.uint32(), STATUS.noSuchFile)
    return undefined
  }
  fields.uint32()
  const size = fields.uint64()
  fields.uint64()
  return (fields.uint32() & 0o40000) === 0 ? size : 'd'
}
