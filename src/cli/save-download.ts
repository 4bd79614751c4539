import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access } from 'node:fs/promises'
import { describeErrno } from './config-file.ts'
import { type Download, download, type Extent, type Sink } from './download.ts'
import { CommandError } from './failure.ts'
import { findPart, openPart, type PartFile } from './part-file.ts'
import type { Session } from './session.ts'

export type Wanted = Omit<Download, 'known' | 'open'>

/** Orbit's ETag of an object that is one piece is the MD5 of its bytes; any other is in quotes. */
const MD5 = /^[0-9a-f]{32}$/

/** @throws an error that says how to go on, where the output cannot be written to */
export async function checkOutput(session: Session, output: string, { force = false }): Promise<void> {
  if (output === '') throw new CommandError('output must be a path, or - for stdout')
  if (output === '-' && session.terminal.stdout.isTTY) {
    throw new CommandError('output to a terminal would garble it', { hint: 'add a pipe, or name a file' })
  }
  if (output !== '-' && !force && (await exists(output))) {
    throw new CommandError(`${output} is there already`, {
      hint: '--force replaces it; or name another file',
    })
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/**
 * Downloads into a file; goes on where an earlier run of the same source was cut off.
 * @returns what it is, and how many of its bytes came in this run
 */
export async function saveToFile(
  wanted: Wanted,
  { output, source, sparse }: { output: string; source: string; sparse: boolean },
): Promise<Extent & { received: number }> {
  const known = await findExtent(output, source)
  let part: PartFile | undefined
  let sum: Hash | undefined
  try {
    const open = async ({ etag, size, offset }: Extent) => {
      await part?.close()
      const opened = await openPart(output, { of: { source, etag, size }, offset, sparse })
      part = opened
      sum = MD5.test(etag) ? await sumOf(`${output}.part`, offset) : undefined
      return summing(opened, sum)
    }
    const got = await download({ ...wanted, known, open })
    if (sum !== undefined && sum.digest('hex') !== got.etag) {
      await part?.discard()
      throw damaged(wanted)
    }
    await part?.finish()
    return { ...got, received: got.size - (known?.etag === got.etag ? known.offset : 0) }
  } finally {
    await part?.close()
  }
}

/** What an earlier run left of the very same download. The last byte is asked for again, to ask about the ETag. */
async function findExtent(output: string, source: string): Promise<Extent | undefined> {
  const part = await findPart(output)
  if (part?.of.source !== source) return undefined
  const { etag, size } = part.of
  return { etag, size, offset: Math.max(0, Math.min(part.offset, size - 1)) }
}

/** The MD5 of a file's first bytes, to go on with. */
async function sumOf(path: string, length: number): Promise<Hash> {
  const sum = createHash('md5')
  if (length > 0) {
    for await (const chunk of createReadStream(path, { end: length - 1 })) sum.update(chunk as Buffer)
  }
  return sum
}

const summing = (sink: Sink, sum: Hash | undefined): Sink => ({
  get offset() {
    return sink.offset
  },
  async write(chunk) {
    await sink.write(chunk)
    sum?.update(chunk)
  },
})

const damaged = ({ what }: Wanted) =>
  new CommandError(`download ${what}: the bytes that came have another MD5 than Orbit says`, {
    hint: 'run it again; where it stays so, something between here and Orbit changes them',
  })

/** Downloads to stdout; what is wrong is known only when it has been written. */
export async function saveToStdout(wanted: Wanted): Promise<void> {
  const { stdout } = wanted.session.terminal
  let offset = 0
  const plain: Sink = {
    get offset() {
      return offset
    },
    async write(chunk) {
      await new Promise<void>((resolve, reject) => {
        stdout.write(chunk, (error) => (error ? reject(stdoutError(error)) : resolve()))
      })
      offset += chunk.length
    },
  }
  const sum = createHash('md5')
  const sink = summing(plain, sum)
  const open = async (what: Extent) => {
    if (what.offset === offset) return sink
    throw new CommandError(`download ${wanted.what}: other bytes than before came after a break`)
  }
  const { etag } = await download({ ...wanted, known: undefined, open })
  if (MD5.test(etag) && sum.digest('hex') !== etag) throw damaged(wanted)
}

const stdoutError = (cause: Error) => new CommandError(`write to stdout: ${describeErrno(cause)}`, { cause })
