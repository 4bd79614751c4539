import { CommandError } from '../failure.ts'
import { findImage, type ImageJson, printImages, shownStatus, shownType } from '../images.ts'
import type { Session } from '../session.ts'

export interface Options {
  readonly showAll?: boolean
  readonly type?: string
  readonly status?: string
  readonly account?: string
  readonly name?: string
}

const TYPES = ['official', 'upload', 'snapshot']
const SUBCOMMANDS = 'list, show, register, update, destroy, lock, unlock, download, events, wait'
const STATUSES = 'public private creating deprecated unavailable deleting deleted failed'.split(' ')

/** Lists images in the order of the official client; all filters but that by name work on what the library sent. */
export async function run(session: Session, ids: readonly string[], options: Options) {
  if (options.name !== undefined && ids.length > 0) throw new CommandError('name cannot be given with ids')
  checkWord(options.type, TYPES, 'type')
  checkWord(options.status, [...STATUSES, 'available'], 'status')
  const { api } = await session.connect()
  let images = ids.length === 0 ? await readAll(api, options.name) : await readSome(session, api, ids)
  const isMissed = ids.length > 0 && images.length === 0
  const { type, status, account } = options
  if (type) images = images.filter((image) => shownType(image) === type)
  if (status) images = images.filter((image) => shownStatus(image) === status)
  if (account === 'brightbox') images = images.filter((image) => image.official)
  else if (account) images = images.filter((image) => image.owner === account)
  if (!options.showAll) {
    const query = { nested: 'false' }
    const own = await api.get<{ id: string }>('account', { attempt: 'read the account', query })
    images = images.filter((image) => image.official || image.owner === own.id)
  }
  await printImages(session, sortImages(images))
  if (status === 'available') {
    session.terminal.info('HINT: available images are listed as public or private')
  }
  if (isMissed) throw nothingFound(ids)
}

/** A mistyped subcommand is taken for an id, as the official client does, and so nothing is found. */
function nothingFound(ids: readonly string[]): CommandError {
  const isWord = ids.some((id) => !/^img-/.test(id))
  const hint = isWord
    ? `images takes ${SUBCOMMANDS}, or ids such as img-3ikco`
    : 'images list shows those there are'
  return new CommandError('list images: none of these exists', { hint })
}

type Reader = Awaited<ReturnType<Session['connect']>>['api']

const readAll = (api: Reader, name: string | undefined): Promise<ImageJson[]> =>
  api.get('images', { attempt: 'list images', ...(name === undefined ? {} : { query: { name } }) })

async function readSome(session: Session, api: Reader, ids: readonly string[]): Promise<ImageJson[]> {
  const images: ImageJson[] = []
  for (const id of ids) {
    const image = await findImage(api, id)
    if (image) images.push(image)
    else session.terminal.info(`Could not find anything with ID ${id}`)
  }
  return images
}

function checkWord(word: string | undefined, words: readonly string[], name: string): void {
  if (word === undefined || words.includes(word)) return
  throw new CommandError(`${name} must be one of ${words.filter((w) => w !== 'available').join(', ')}`)
}

const RANKS: Readonly<Record<string, number>> = { public: 1, private: 2, deprecated: 3 }

function sortKey(image: ImageJson): readonly (string | number)[] {
  return [
    image.official ? 0 : 1,
    image.name,
    image.arch,
    RANKS[shownStatus(image)] ?? 4,
    -Math.floor(Date.parse(image.created_at) / 1000),
  ]
}

function compare(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  const index = a.findIndex((value, position) => value !== b[position])
  if (index < 0) return 0
  return (a[index] ?? 0) < (b[index] ?? 0) ? -1 : 1
}

/** Official ones first, by name, arch, status and age; then snapshots, oldest first. */
export function sortImages(images: readonly ImageJson[]): ImageJson[] {
  const snapshots = images.filter((image) => image.source_type === 'snapshot')
  const others = images.filter((image) => image.source_type !== 'snapshot')
  others.sort((a, b) => compare(sortKey(a), sortKey(b)))
  snapshots.sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at))
  return [...others, ...snapshots]
}
