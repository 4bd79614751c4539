import { CommandError } from '../failure.ts'
import { imagePath, needImage } from '../images.ts'
import { checkOutput, saveToFile, saveToStdout, type Wanted } from '../save-download.ts'
import type { Session } from '../session.ts'
import { printBytes, printRate } from '../units.ts'
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
  await checkOutput(session, output, options)
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
  const wanted: Wanted = {
    session,
    what: `image ${id}`,
    label: id,
    ask: (have) =>
      api.raw('GET', imagePath(id, '/download'), {
        attempt: `download image ${id}`,
        query: { format },
        headers: {
          Accept: '*/*',
          ...(have === undefined ? {} : { Range: `bytes=${have.offset}-`, 'If-Range': have.etag }),
        },
      }),
  }
  if (output === '-') return saveToStdout(wanted)
  const startedAt = Date.now()
  const sparse = format === 'raw'
  const { size, etag, received } = await saveToFile(wanted, { output, source: `${id} as ${format}`, sparse })
  const rate = printRate(received, startedAt)
  session.terminal.info(`Downloaded ${id} to ${output}: ${printBytes(size)} as ${format}, ${rate}`)
  if (session.options.json) session.printJson({ image: id, format, file: output, size, etag })
}
