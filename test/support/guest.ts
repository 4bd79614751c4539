import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** A guest that runs guest-init.sh, at its serial console. */
export interface Guest extends Disposable {
  /** What was heard of it so far. */
  text(): string
  /** Sends a command and waits for nothing. */
  tell(command: string): void
  /** Waits until it obeys. */
  ready(limitMs?: number): Promise<void>
  /** Runs a shell command in it. @returns what that prints, in one line; throws where its code is not 0 */
  run(command: string, limitMs?: number): Promise<string>
  /** Waits for something that it says after this call. */
  hears(pattern: RegExp, limitMs?: number): Promise<void>
  /** Which hardware it found: disk, diskdriver, sectors, net, netdriver, mac. */
  report(): Promise<Record<string, string>>
  /** What cloud-init would find there, by the names of the files. */
  seed(): Promise<Record<string, string>>
}

const LIMIT_MS = 30_000

/** Where the guest's bytes come and go. */
interface Wire {
  send(text: string): void
  close(): void
  /** Set by whoever listens. */
  hear: (bytes: Uint8Array) => void
}

/** Attaches to a server's serial console: what `activate_console` gave, by which anybody with a websocket could. */
export async function attachConsole(consoleUrl: string, token: string): Promise<Guest> {
  const url = new URL(`${consoleUrl}/serial`)
  url.protocol = url.protocol.replace('http', 'ws')
  url.searchParams.set('password', token)
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  const wire: Wire = {
    send: (text) => socket.send(Buffer.from(text)),
    close: () => socket.close(),
    hear: () => {},
  }
  const guest = talk(wire)
  socket.addEventListener('message', ({ data }) => wire.hear(new Uint8Array(data as ArrayBuffer)))
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve())
    socket.addEventListener('error', () => reject(new Error(`no console at ${consoleUrl}`)))
  })
  return guest
}

/** Attaches to the guest of a QEMU whose serial port is this stream. */
export function attachStream(stream: Duplex): Guest {
  const wire: Wire = {
    send: (text) => stream.write(text),
    close: () => stream.destroy(),
    hear: () => {},
  }
  stream.on('error', () => {})
  stream.on('data', (bytes) => wire.hear(bytes))
  return talk(wire)
}

let commands = 0

function talk(wire: Wire): Guest {
  const decoder = new TextDecoder()
  let text = ''
  let heard = Promise.withResolvers<void>()
  wire.hear = (bytes) => {
    text += decoder.decode(bytes, { stream: true }).replaceAll('\r', '')
    heard.resolve()
    heard = Promise.withResolvers()
  }
  // Unlike any that an earlier listener at the same console used, whose answers may still be heard.
  const nextId = () => `${process.pid}.${++commands}`

  async function answerTo(
    id: string,
    limitMs: number,
  ): Promise<{ code: number; output: string } | undefined> {
    const pattern = new RegExp(`^\\[${id} (\\d+)\\] ?(.*)\\n`, 'm')
    const [, code, output = ''] = (await find(pattern, limitMs)) ?? []
    return code === undefined ? undefined : { code: Number(code), output }
  }

  async function find(pattern: RegExp, limitMs: number, from = 0): Promise<RegExpExecArray | undefined> {
    const settled = new AbortController()
    const { signal } = settled
    const late = delay(limitMs, 'late', { signal }).catch(() => {})
    try {
      for (;;) {
        const found = pattern.exec(text.slice(from))
        if (found) return found
        if ((await Promise.race([heard.promise, late])) === 'late') return undefined
      }
    } finally {
      settled.abort()
    }
  }

  const guest: Guest = {
    text: () => text,
    tell: (command) => wire.send(`${nextId()} ${command}\n`),
    async ready(limitMs = 60_000) {
      // What is sent while it boots is lost, and a "READY" may be that of the boot before.
      for (const deadline = Date.now() + limitMs; Date.now() < deadline; ) {
        const id = nextId()
        wire.send(`${id} true\n`)
        if (await answerTo(id, 500)) return
      }
      assert.fail(`the guest is not ready after ${limitMs} ms:\n${text.slice(-2000)}`)
    },
    async run(command, limitMs = LIMIT_MS) {
      const id = nextId()
      wire.send(`${id} ${command}\n`)
      const answer = await answerTo(id, limitMs)
      assert.ok(answer, `no answer to ${command} within ${limitMs} ms:\n${text.slice(-2000)}`)
      assert.equal(answer.code, 0, `${command}: ${answer.output}`)
      return answer.output
    },
    async hears(pattern, limitMs = LIMIT_MS) {
      const found = await find(pattern, limitMs, text.length)
      assert.ok(found, `it did not say ${pattern} within ${limitMs} ms:\n${text.slice(-2000)}`)
    },
    report: async () => pairsOf((await guest.run('report')).replace(/^REPORT /, '')),
    async seed() {
      const files = Object.entries(pairsOf(await guest.run('seed')))
      return Object.fromEntries(files.map(([name, text]) => [name, Buffer.from(text, 'base64').toString()]))
    },
    [Symbol.dispose]: () => wire.close(),
  }
  return guest
}

/** `a=1 b=2`; a value may contain `=`. */
function pairsOf(text: string): Record<string, string> {
  return Object.fromEntries(text.split(' ').map((pair) => [pair.split('=')[0], pair.replace(/^[^=]*=/, '')]))
}
