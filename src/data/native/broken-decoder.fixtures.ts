/** The program of a decoder process that goes wrong, in the way that its input says. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { Conversation } from './conversation.ts'
import { toJson } from './orders.ts'
import { CONNECTION, OUT_OF_MEMORY, READY } from './process-facts.ts'

export const WRONGS = [
  'says nothing',
  'says too much',
  'takes too much',
  'says nonsense',
  'says it is done',
  'sends more at once than it may',
  'invents a reason',
  'needs too much memory',
  'crashes',
  'faults',
  'exits',
  'is killed',
  'is stopped with its terminal',
  'tells all',
] as const
export type Wrong = (typeof WRONGS)[number]

const forEver = () => new Promise<never>(() => {})

/** What comes of an attempt: its result, or the code of its failure. */
function attempt(what: () => unknown): string {
  try {
    return String(what())
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

const ways: Record<Wrong, (user: Conversation, socket: Socket) => unknown> = {
  'says nothing': forEver,
  async 'says too much'(user) {
    for (;;) await user.send('data', Buffer.alloc(100_000))
  },
  async 'takes too much'(user) {
    await user.send('data', Buffer.alloc(100_000, 1))
    await forEver()
  },
  async 'says nonsense'(_user, socket) {
    socket.write(Buffer.alloc(100_000, '?'))
    await forEver()
  },
  async 'says it is done'(user) {
    await user.send('data', Buffer.from('x'))
    await user.send('end')
    await forEver()
  },
  async 'sends more at once than it may'(_user, socket) {
    socket.write(Buffer.from([1, 0xff, 0xff, 0xff, 0xff]))
    await forEver()
  },
  async 'invents a reason'(user) {
    await user.send(
      'failed',
      toJson({ category: 'internal', message: `a\u001b[31m${'b'.repeat(2000)}`, hint: 7 }),
    )
    await forEver()
  },
  'needs too much memory': () => process.exit(OUT_OF_MEMORY),
  crashes: () => process.abort(),
  // Handlers of Node's are none of SIGSEGV's.
  faults: () => process.kill(process.pid, 'SIGSEGV'),
  exits: () => process.exit(0),
  'is killed': () => process.kill(process.pid, 'SIGKILL'),
  'is stopped with its terminal': () => process.kill(process.pid, 'SIGINT'),
  async 'tells all'(user) {
    const { env } = process
    const all = {
      env,
      program: attempt(() => readFileSync(process.argv[1] ?? '').length > 0),
      passwd: attempt(() => readFileSync('/etc/passwd')),
      status: attempt(() => readFileSync('/proc/self/status')),
      write: attempt(() => writeFileSync('/tmp/decoder', '')),
      spawn: attempt(() => spawnSync('true').status),
    }
    await user.send('data', toJson(all))
    await user.send('end')
  },
}

if (import.meta.main) {
  process.stderr.write(READY)
  process.stdin.resume().on('close', () => process.exit())
  const socket = new Socket({ fd: CONNECTION })
  const user = new Conversation(socket)
  await user.body((await user.receive()).length)
  const input = Buffer.from(await user.body((await user.receive()).length)).toString('latin1')
  const wrong = WRONGS.find((way) => input.includes(way))
  if (wrong) await ways[wrong](user, socket)
  await user.drain()
}
