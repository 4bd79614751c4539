import { access } from 'node:fs/promises'
import { describeErrno } from '../config-file.ts'
import { type Download, download, type Extent, type Sink } from '../download.ts'
import { CommandError } from '../failure.ts'
import { needImage } from '../images.ts'
import { findPart, openPart, type PartFile } from '../part-file.ts'
import type { Session } from '../session.ts'
import { printBytes } from '../units.ts'
import { assertUsable } from '../wait.ts'

export interface Options {
  readonly format: string
  readonly output?: string
  readonly force?: boolean
}

const FORMATS = ['lz4', 'raw', 'qcow2']

/** Downloads an image's disk in one of its forms; goes on where an earlier run was cut off. */
export async function run(session: Session, ids: readonly string[], options: Options) {
  const [id, ...more] = ids
  if (id === undefined || more.length > 0) throw new CommandError('You must specify one image to download')
  const { format } = options
  if (!FORMATS.includes(format)) throw new CommandError(`format must be one of ${FORMATS.join(', ')}`)
  const output = options.output ?? `${id}.${format}`
  if (output === '') throw new CommandError('output must be a path, or - for stdout')
  if (output === '-' && session.terminal.stdout.isTTY) {
    throw new CommandError('output to a terminal would garble it', { hint: 'add a pipe, or -o FILE' })
  }
  if (output !== '-' && !options.force && (await exists(output))) {
    throw new CommandError(`${output} is there already`, {
      hint: '--force replaces it; -o FILE names another',
    })
  }
  const { api } = await session.connect()
  const image = await needImage(api, id, (missing) => `Couldn't find image ${missing}`)
  if (image.status === 'creating') {
    throw new CommandError(`download image ${id}: it is still being registered`, {
      hint: `brightbox image wait ${id} waits for it`,
    })
  }
  if (image.status === 'failed') assertUsable(image)
  if (image.status !== 'available' && image.status !== 'deprecated') {
    throw new CommandError(`download image ${id}: it is ${image.status}`)
  }
  const wanted = { session, api, image: id, format }
  if (output === '-') await toStdout(wanted)
  else await toFile(wanted, output)
}

type Wanted = Omit<Download, 'known' | 'open'>

async function toFile(wanted: Wanted, output: string) {
  const { session, image, format } = wanted
  const startedAt = Date.now()
  const known = await findExtent(output, image, format)
  let part: PartFile | undefined
  try {
    const open = async ({ etag, size, offset }: Extent) => {
      await part?.close()
      const sparse = format === 'raw'
      part = await openPart(output, { of: { image, format, etag, size }, offset, sparse })
      return part
    }
    const { size, etag } = await download({ ...wanted, known, open })
    await part?.finish()
    const seconds = Math.max(0.001, (Date.now() - startedAt) / 1000)
    const rate = printBytes((size - (known?.offset ?? 0)) / seconds)
    session.terminal.info(`Downloaded ${image} to ${output}: ${printBytes(size)} as ${format}, ${rate}/s`)
    if (session.options.json) session.printJson({ image, format, file: output, size, etag })
  } finally {
    await part?.close()
  }
}

/** What an earlier run left of the very same download. The last byte is asked for again, to ask about the ETag. */
async function findExtent(output: string, image: string, format: string): Promise<Extent | undefined> {
  const part = await findPart(output)
  if (part?.of.image !== image || part.of.format !== format) return undefined
  const { etag, size } = part.of
  return { etag, size, offset: Math.min(part.offset, size - 1) }
}

async function toStdout(wanted: Wanted) {
  const { stdout } = wanted.session.terminal
  let offset = 0
  const sink: Sink = {
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
  const open = async (what: Extent) => {
    if (what.offset === offset) return sink
    throw new CommandError(`download image ${wanted.image}: other bytes than before came after a break`)
  }
  await download({ ...wanted, known: undefined, open })
}

const stdoutError = (cause: Error) => new CommandError(`write to stdout: ${describeErrno(cause)}`, { cause })

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
