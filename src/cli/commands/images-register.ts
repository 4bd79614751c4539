import { CommandError } from '../failure.ts'
import type { ImageUpload } from '../image-upload.ts'
import { getImage, type ImageJson, parseFlag, parseMode, printImages } from '../images.ts'
import type { Connection, Session } from '../session.ts'
import { parseWhole } from '../units.ts'
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
  const connection = await session.connect()
  const { api } = connection
  const upload = options.file === undefined ? undefined : await send(session, connection, options.file)
  let image: ImageJson | undefined
  try {
    const source = upload && { http_url: upload.url, name: options.name || upload.name }
    const made = await api.post<ImageJson>('images', {
      attempt: 'register image',
      body: { ...body, ...source },
    })
    image = await getImage(api, made.id)
    if (options.wait) image = await waitForImage(session, api, image)
    await printImages(session, [image], true)
    if (options.wait) assertUsable(image)
  } finally {
    await upload?.end(image?.status === 'available')
  }
}

async function send(session: Session, connection: Connection, path: string): Promise<ImageUpload> {
  const { uploadImage } = await import('../image-upload.ts')
  return uploadImage(session, connection, path)
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
    ...(file === undefined ? [] : [{}]),
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
