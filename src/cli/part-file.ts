import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describeErrno, writePrivate } from './config-file.ts'
import { CommandError } from './failure.ts'

/** What a started download is of; kept in FILE.part.json so that a later run can go on with it. */
export interface PartOf {
  /** What is downloaded, and from where. */
  readonly source: string
  /** The strong ETag of these very bytes. */
  readonly etag: string
  /** Bytes in all. */
  readonly size: number
}

const ZEROS = Buffer.alloc(64 * 1024)

/** FILE.part: bytes in order; runs of zeros become holes. FILE appears only when all of it is there. */
export interface PartFile {
  readonly offset: number
  write(chunk: Uint8Array): Promise<void>
  /** Makes the whole file durable and gives it its name. */
  finish(): Promise<void>
  /** Leaves nothing behind. */
  discard(): Promise<void>
  /** Keeps what there is for the next run. */
  close(): Promise<void>
}

/** What an earlier run left: of what, and how much. */
export async function findPart(path: string): Promise<{ of: PartOf; offset: number } | undefined> {
  try {
    const of = JSON.parse(await readFile(`${path}.part.json`, 'utf8')) as Partial<PartOf>
    const { size } = await stat(`${path}.part`)
    if (typeof of.source !== 'string' || typeof of.etag !== 'string') return undefined
    if (!Number.isSafeInteger(of.size) || size > Number(of.size)) return undefined
    return { of: of as PartOf, offset: size }
  } catch {
    return undefined
  }
}

/** Opens FILE.part to go on at `offset`; at 0 it begins anew. Holes are made only where `sparse` is true. */
export async function openPart(
  path: string,
  { of, offset: start, sparse }: { of: PartOf; offset: number; sparse: boolean },
): Promise<PartFile> {
  const part = `${path}.part`
  let file: FileHandle
  try {
    if (start === 0) await rm(`${part}.json`, { force: true })
    file = await open(part, start === 0 ? 'w' : 'r+')
    await writePrivate(`${part}.json`, JSON.stringify(of))
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    throw new CommandError(`write ${part}: ${describeErrno(cause)}`, { cause })
  }
  let offset = start
  return {
    get offset() {
      return offset
    },
    async write(chunk) {
      try {
        for (const [begin, end] of sparse ? dataRuns(chunk) : [[0, chunk.length] as const]) {
          for (let done = begin; done < end; ) {
            done += (await file.write(chunk, done, end - done, offset + done)).bytesWritten
          }
        }
      } catch (cause) {
        throw new CommandError(`write ${part}: ${describeErrno(cause)}`, {
          cause,
          hint: 'what was downloaded is kept; the same command goes on with it',
        })
      }
      offset += chunk.length
    },
    async finish() {
      await file.truncate(of.size)
      await file.sync()
      await file.close()
      await rename(part, path)
      const folder = await open(dirname(path))
      // The new name is lost on power failure until its folder is on disk.
      await folder.sync().finally(() => folder.close())
      await rm(`${part}.json`, { force: true })
    },
    async discard() {
      await file.close()
      for (const name of [part, `${part}.json`]) await rm(name, { force: true })
    },
    async close() {
      // A hole at the end counts as received too.
      await file.truncate(offset).catch(() => undefined)
      await file.close().catch(() => undefined)
    },
  }
}

/** The parts of a chunk that are not zeros, in pieces of 64 KiB: begin and end. */
function dataRuns(chunk: Uint8Array): (readonly [number, number])[] {
  const runs: (readonly [number, number])[] = []
  for (let begin = 0; begin < chunk.length; begin += ZEROS.length) {
    const end = Math.min(begin + ZEROS.length, chunk.length)
    if (ZEROS.subarray(0, end - begin).equals(chunk.subarray(begin, end))) continue
    const last = runs.at(-1)
    if (last?.[1] === begin) runs[runs.length - 1] = [last[0], end]
    else runs.push([begin, end])
  }
  return runs
}
