import { readdir } from 'node:fs/promises'
import { RootCommand } from '@bomb.sh/tab'
import type { Command } from 'commander'
import { CommandError } from '../failure.ts'
import type { Session } from '../session.ts'

const SHELLS = ['bash', 'zsh', 'fish']
/** Completion that takes longer is worse than none. */
const PATIENCE_MS = 1500

/** Prints the script that teaches a shell; `source <(brightbox completion bash)` tries it out. */
export async function script(_session: Session, args: readonly string[]) {
  const [shell = ''] = args
  if (!SHELLS.includes(shell)) throw new CommandError(`shell must be one of ${SHELLS.join(', ')}`)
  new RootCommand().setup('brightbox', 'brightbox', shell)
}

type Word = readonly [value: string, description: string]
type Offer = (complete: (value: string, description: string) => void) => void

const offer =
  (words: readonly Word[]): Offer =>
  (complete) => {
    for (const [value, description] of words) complete(value, description)
  }

const plain = (...values: string[]): Offer => offer(values.map((value) => [value, '']))

/** What can follow an option, by its long name. */
const VALUES: Readonly<Record<string, Offer>> = {
  arch: plain('x86_64', 'i686'),
  mode: plain('virtio', 'compatibility'),
  public: plain('true', 'false'),
  deprecated: plain('true', 'false'),
  type: plain('official', 'upload', 'snapshot'),
  status: plain('public', 'private', 'creating', 'deprecated', 'failed', 'deleting'),
  format: plain('lz4', 'raw', 'qcow2'),
}

const TOKEN_FORMATS = plain('text', 'token', 'json', 'curl')

/** Answers a shell: what can stand where the last word is. */
export async function complete(session: Session, words: readonly string[], program: Command) {
  const asked = words[0] === '--' ? words.slice(1) : [...words]
  const kind = kindOf(asked)
  const ids = kind === undefined ? [] : await readIds(session, kind)
  const config = await session.config().catch(() => undefined)
  const clients = plain(...(config?.sections ?? []))
  const root = new RootCommand()
  const paths = plain(...(await readPaths(asked)))
  addOptions(root, program, { client: clients, config: paths })
  for (const group of program.commands.filter((command) => command.name() !== 'complete')) {
    for (const name of namesOf(group.name())) {
      const entry = root.command(name, group.description())
      if (group.name() === 'completion') entry.argument('shell', plain(...SHELLS))
      for (const leaf of group.commands) {
        const command = root.command(`${name} ${leaf.name()}`, leaf.description())
        const formats = group.name() === 'token' ? { format: TOKEN_FORMATS } : {}
        addOptions(command, leaf, { ...formats, file: paths, output: paths, 'user-data-file': paths })
        if (['images', 'servers', 'volumes'].includes(group.name())) command.argument('id', offer(ids), true)
        if (leaf.name() === 'put') command.argument('file', paths)
        if (/^client_(default|remove)$/.test(leaf.name())) command.argument('alias', clients)
      }
    }
  }
  root.parse(asked)
}

/** Singular and plural: `image` and `images`. */
const namesOf = (name: string): string[] => (/[^s]s$/.test(name) ? [name, name.slice(0, -1)] : [name])

type Target = Pick<RootCommand, 'option'>

function addOptions(target: Target, command: Command, values: Readonly<Record<string, Offer>>): void {
  for (const { long, short, description, required, hidden } of command.options) {
    const name = long?.slice(2)
    if (name === undefined || hidden) continue
    const offered = values[name] ?? VALUES[name] ?? (() => {})
    const letter = short?.slice(1)
    if (required) target.option(name, description, (complete) => offered(complete), letter)
    else target.option(name, description, letter)
  }
}

/** Of what ids can stand where the last word is: `server create` takes an image. */
function kindOf(words: readonly string[]): Kind | undefined {
  const [group = '', verb = ''] = words.filter((word) => !word.startsWith('-'))
  if (verb === '' || words.length < 3 || (group.startsWith('image') && verb === 'register')) return undefined
  if (/^images?$/.test(group) || (/^servers?$/.test(group) && verb === 'create')) return KINDS.images
  if (/^servers?$/.test(group)) return KINDS.servers
  return /^volumes?$/.test(group) ? KINDS.volumes : undefined
}

interface Kind {
  readonly collection: string
  readonly prefix: 'img-' | 'srv-' | 'vol-'
}

const KINDS = {
  images: { collection: 'images', prefix: 'img-' },
  servers: { collection: 'servers', prefix: 'srv-' },
  volumes: { collection: 'volumes', prefix: 'vol-' },
} as const

/** Names of files that begin as the last word does, where a file can stand. */
async function readPaths(words: readonly string[]): Promise<string[]> {
  const [option = '', last = ''] = words.slice(-2)
  const begun = /^--(?:file|output|config|user-data-file)=(.*)$/.exec(last)?.[1] ?? last
  const isFile =
    /^(--file|--output|-o|--config|--user-data-file)$/.test(option) ||
    (words.at(0) === 'orbit' && option === 'put')
  if (begun === last && !isFile) return []
  const folder = begun.slice(0, begun.lastIndexOf('/') + 1)
  const entries = await readdir(folder || '.', { withFileTypes: true }).catch(() => [])
  return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort()
}

/** Ids with names: from the library where it answers at once, else those seen before. */
async function readIds(session: Session, { collection, prefix }: Kind): Promise<Word[]> {
  try {
    const { api, tokens } = await session.connect()
    if ((await tokens.cached()) === undefined) throw new CommandError('no token to ask with')
    const signal = AbortSignal.timeout(PATIENCE_MS)
    const things = await api.get<{ readonly id: string; readonly name: string | null }[]>(collection, {
      attempt: `list ${collection}`,
      signal,
    })
    return things.map(({ id, name }): Word => [id, (name ?? '').replaceAll(/\s+/g, ' ')])
  } catch {
    const ids = await session.config().then(
      (config) => config.cachedIds(prefix),
      () => [],
    )
    return ids.map((id): Word => [id, ''])
  }
}
