import type { Api } from '../api.ts'
import { CommandError } from '../failure.ts'
import { getImage, type ImageJson, parseFlag, parseMode, printImages } from '../images.ts'
import type { Session } from '../session.ts'
import { parseWhole } from '../units.ts'
import type { Upload } from '../upload.ts'
import { assertUsable, waitForImage } from '../wait.ts'

export interface Options {
  readonly arch?: string
  readonly url?: string
  readonly server?: string
  readonly volume?: string
  readonly file?: string
  readonly name?: string
  readonly description?: string
  readonly username?: string
  readonly mode: string
  readonly public: string
  readonly minRam?: string
  readonly checksum?: string
  readonly wait?: boolean
}

/** Makes an image from a URL, a server, a volume or a file of ours, and prints it. */
export async function run(session: Session, args: readonly string[], options: Options) {
  if (args.length > 0) {
    throw new CommandError(`register takes no argument, but got ${args[0]}`, {
      hint: 'name the source by --url, --server, --volume or --file',
    })
  }
  const body = readBody(options)
  const upload = options.file === undefined ? undefined : await openUpload(options.file)
  try {
    if (upload && !options.name) body.name = upload.name
    const { api } = await session.connect()
    const { id } = await api.post<ImageJson>('images', { attempt: 'register image', body })
    if (upload) await sendOrExplain(session, api, upload, id)
    let image = await getImage(api, id)
    if (options.wait) image = await waitForImage(session, api, image)
    await printImages(session, [image], true)
    if (options.wait) assertUsable(image)
  } finally {
    await upload?.close()
  }
}

async function openUpload(path: string) {
  const { openUpload } = await import('../upload.ts')
  return openUpload(path)
}

/** An upload that fails for good leaves an image behind that waits for its bytes. */
async function sendOrExplain(session: Session, api: Api, upload: Upload, id: string) {
  try {
    await upload.send(session, api, id)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const begun = `brightbox image destroy ${id} removes what was begun`
    const hint = error.hint === undefined ? begun : `${error.hint}; ${begun}`
    throw new CommandError(error.message, { cause: error, hint, exitCode: error.exitCode })
  }
}

/** Checks the options in the order of the official client, so that the same mistake gets the same message. */
function readBody(options: Options): Record<string, unknown> {
  if (!options.arch) {
    throw new CommandError('You must specify the architecture', { hint: '--arch=x86_64 or --arch=i686' })
  }
  const compatibility = parseMode(options.mode)
  const isPublic = parseFlag(options.public, 'Public')
  return {
    arch: options.arch,
    compatibility_mode: compatibility,
    description: options.description ?? null,
    min_ram: options.minRam === undefined ? 0 : parseWhole(options.minRam, 'min-ram', 'MB'),
    name: options.name ?? null,
    public: isPublic,
    username: options.username ?? null,
    ...readSource(options),
    ...(options.checksum === undefined ? {} : { checksum: parseChecksum(options.checksum) }),
  }
}

function readSource({ url, server, volume, file }: Options): Record<string, unknown> {
  const sources = [
    ...(url === undefined ? [] : [{ http_url: url }]),
    ...(server === undefined ? [] : [{ server }]),
    ...(volume === undefined ? [] : [{ volume }]),
    ...(file === undefined ? [] : [{ upload: true }]),
  ]
  const [source, ...more] = sources
  if (source === undefined) {
    throw new CommandError("You must specify one of 'server', 'url', or 'volume'", {
      hint: '--file PATH sends a file of this machine instead',
    })
  }
  if (more.length > 0) {
    throw new CommandError(
      "You cannot register from multiple sources. Use either 'server', 'url', or 'volume'",
    )
  }
  return source
}

function parseChecksum(text: string): string {
  const digits = /^sha256:([0-9a-f]{64})$/i.exec(text)?.[1]
  if (digits === undefined) {
    throw new CommandError('checksum must be sha256: and 64 hexadecimal digits', {
      hint: 'it is that of the file as it is downloaded, before any decompression; sha256sum FILE prints it',
    })
  }
  return `sha256:${digits.toLowerCase()}`
}
