import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'

/** Bytes written, and read, at a time. */
const PART = MiB
/** The longest row is that of a registration with thousands of parts. */
const LINE_MAX = 256 * MiB
const LINE_FEED = 10

/** Writes a new file, for us alone, and has it on stable storage. @returns how many lines it has */
export async function writeLines(path: string, lines: AsyncIterable<string>): Promise<number> {
  await using file = await open(path, 'wx', 0o600)
  let count = 0
  let waiting: string[] = []
  let length = 0
  const flush = async () => {
    if (length > 0) await file.appendFile(waiting.join(''))
    waiting = []
    length = 0
  }
  for await (const line of lines) {
    count++
    waiting.push(line, '\n')
    length += line.length + 1
    if (length >= PART) await flush()
  }
  await flush()
  await file.sync()
  return count
}

/** The lines of a file, split at line feeds and nowhere else. @throws corrupt where the last one has no end */
export async function* readLines(path: string): AsyncGenerator<string> {
  await using file = await open(path, 'r')
  let rest: Buffer = Buffer.alloc(0)
  for (;;) {
    const part = Buffer.alloc(PART)
    const { bytesRead } = await file.read(part, 0, PART, null)
    if (bytesRead === 0) break
    rest = Buffer.concat([rest, part.subarray(0, bytesRead)])
    let start = 0
    for (let end = rest.indexOf(LINE_FEED); end >= 0; end = rest.indexOf(LINE_FEED, start)) {
      yield rest.toString('utf8', start, end)
      start = end + 1
    }
    rest = rest.subarray(start)
    if (rest.length > LINE_MAX) throw new LibraryError('corrupt', `read ${path}: a line is too long`)
  }
  if (rest.length > 0) throw new LibraryError('corrupt', `read ${path}: it ends in the middle of a line`)
}

/** SHA-256 of a file, 64 hex digits. */
export async function sumFile(path: string): Promise<string> {
  await using file = await open(path, 'r')
  const sum = createHash('sha256')
  const part = Buffer.alloc(PART)
  for (;;) {
    const { bytesRead } = await file.read(part, 0, PART, null)
    if (bytesRead === 0) return sum.digest('hex')
    sum.update(part.subarray(0, bytesRead))
  }
}
