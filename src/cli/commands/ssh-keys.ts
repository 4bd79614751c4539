import { readFile } from 'node:fs/promises'
import type { SshKeyJson } from '#schema/ssh-key.ts'
import { CommandError } from '../failure.ts'
import type { Session } from '../session.ts'

const FIELDS = ['id', 'owner', 'type', 'created_on', 'fingerprint', 'name']
/** No public key is longer, and a mistaken name may be that of a disk. */
const FILE_MAX = 16 * 1024

const ownerOf = ({ user, api_client }: SshKeyJson) => (user ?? api_client)?.id

function print(session: Session, keys: readonly SshKeyJson[], data: unknown) {
  const rows = keys.map((key) => ({
    ...{ id: key.id, type: key.key_type, fingerprint: key.fingerprint, name: key.name },
    ...{ owner: ownerOf(key), created_on: key.created_at.slice(0, 10) },
  }))
  session.printRows(FIELDS, rows, data)
}

/** Lists the public keys of the user and of the account's API clients. */
export async function list(session: Session) {
  const { api } = await session.connect()
  const keys = await api.get<SshKeyJson[]>('ssh_keys', { attempt: 'list SSH keys' })
  print(session, keys, keys)
}

export interface AddOptions {
  readonly name?: string
  readonly apiClient?: string
}

/** Lets in a public key over SFTP. */
export async function add(session: Session, args: readonly string[], options: AddOptions) {
  const [path] = args
  if (path === undefined) {
    throw new CommandError('You must specify the file of the public key', {
      hint: 'brightbox ssh-keys add ~/.ssh/id_ed25519.pub',
    })
  }
  const line = await readPublicKey(path)
  const { api } = await session.connect()
  const key = await api.post<SshKeyJson>('ssh_keys', {
    attempt: 'add an SSH key',
    body: {
      public_key: line,
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(options.apiClient === undefined ? {} : { api_client: options.apiClient }),
    },
  })
  session.terminal.info(`Added ${key.fingerprint} for ${ownerOf(key)}`)
  print(session, [key], key)
}

async function readPublicKey(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: Error) => {
    throw new CommandError(`read ${path}: ${error.message}`, { cause: error })
  })
  const text = bytes.subarray(0, FILE_MAX + 1).toString()
  // Here and not by the library: it must not even be sent.
  if (/PRIVATE KEY|^PuTTY-User-Key-File/.test(text)) {
    throw new CommandError(`${path} is a private key, which should never leave this machine`, {
      hint: `the public one is mostly ${path}.pub`,
    })
  }
  if (bytes.length > FILE_MAX) throw new CommandError(`${path} is too long for a public key`)
  return text.trim()
}

export async function remove(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the SSH keys you want to remove')
  const { api } = await session.connect()
  const removed: SshKeyJson[] = []
  for (const id of ids) {
    session.terminal.info(`Removing SSH key ${id}`)
    const path = `ssh_keys/${encodeURIComponent(id)}`
    removed.push(await api.delete<SshKeyJson>(path, { attempt: `remove SSH key ${id}` }))
  }
  if (session.options.json) session.printJson(removed.length === 1 ? removed[0] : removed)
}
