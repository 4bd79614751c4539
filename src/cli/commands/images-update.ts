import { CommandError } from '../failure.ts'
import { getImage, imagePath, needImage, parseFlag, parseMode, printImages } from '../images.ts'
import type { Session } from '../session.ts'
import { parseWhole } from '../units.ts'

export interface Options {
  readonly name?: string
  readonly description?: string
  readonly arch?: string
  readonly username?: string
  readonly mode?: string
  readonly public?: string
  readonly minRam?: string
  readonly deprecated?: string
}

/** Changes what the options name; an empty text clears. */
export async function run(session: Session, ids: readonly string[], options: Options) {
  const id = ids[0]
  if (id === undefined || !/^img-/.test(id)) {
    throw new CommandError('You must specify the image to update as the first argument', {
      hint: 'for example: brightbox images update --public=true img-3ikco',
    })
  }
  const changes = readChanges(options)
  const { api } = await session.connect()
  await needImage(api, id, (missing) => `Couldn't find '${missing}'`)
  session.terminal.info(`Updating image ${id}`)
  const attempt = `update image ${id}`
  if (Object.keys(changes).length > 0) await api.put(imagePath(id), { attempt, body: changes })
  // The official client reads the image twice here, and what we send is compared with it.
  await getImage(api, id)
  await printImages(session, [await getImage(api, id)], true)
}

/** The body of the request, its keys in the order of the official client. */
function readChanges(options: Options): Record<string, unknown> {
  const { name, arch, description, username, mode, minRam, deprecated } = options
  const clear = (text: string) => (text === '' ? null : text)
  return {
    ...(name === undefined ? {} : { name: clear(name) }),
    ...(arch === undefined ? {} : { arch: clear(arch) }),
    ...(description === undefined ? {} : { description: clear(description) }),
    ...(username === undefined ? {} : { username: clear(username) }),
    ...(mode === undefined ? {} : { compatibility_mode: parseMode(mode) }),
    ...(options.public === undefined ? {} : { public: parseFlag(options.public, 'Public') }),
    ...(minRam === undefined ? {} : { min_ram: parseWhole(minRam, 'min-ram', 'MB') }),
    ...(deprecated === undefined ? {} : { status: statusOf(deprecated) }),
  }
}

const statusOf = (deprecated: string) => (parseFlag(deprecated, 'Deprecated') ? 'deprecated' : 'available')
