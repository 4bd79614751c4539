import { type Static, Type } from 'typebox'
import type { SshKey } from '#model/ssh-key.ts'
import { identity, line, nullable, nullableLine, nullableString, printTime, time, urlOf } from './fields.ts'

const UserReferenceSchema = Type.Object(identity('usr', 'user'))
const ApiClientReferenceSchema = Type.Object(identity('cli', 'api_client'))

export const SshKeySchema = Type.Object(
  {
    ...identity('key', 'ssh_key'),
    name: nullableString(),
    key_type: Type.String({ description: 'such as ssh-ed25519' }),
    fingerprint: Type.String({ description: 'as ssh-keygen -l prints it' }),
    public_key: Type.String({ description: 'type and base64, as in an authorized_keys file' }),
    created_at: time(),
    user: nullable<Static<typeof UserReferenceSchema>>(UserReferenceSchema),
    api_client: nullable<Static<typeof ApiClientReferenceSchema>>(ApiClientReferenceSchema),
  },
  { $id: 'SshKey', description: 'A public key for the SFTP service, of a user or an API client' },
)
export type SshKeyJson = Static<typeof SshKeySchema>

export const SshKeyCreateSchema = Type.Object(
  {
    public_key: Type.String({ maxLength: 16_384, description: 'the line in ~/.ssh/id_ed25519.pub' }),
    name: Type.Optional(nullableLine(255, "shown to people; by default the key's comment")),
    api_client: Type.Optional(line(9, 'API client that it lets in; by default whoever asks')),
  },
  { $id: 'SshKeyCreate', description: 'A public key to be let in with', additionalProperties: false },
)
export type SshKeyCreateJson = Static<typeof SshKeyCreateSchema>

export function printSshKey(key: SshKey, base: string): SshKeyJson {
  const { id, ownerId } = key
  const isUsers = ownerId.startsWith('usr-')
  return {
    id,
    resource_type: 'ssh_key',
    url: urlOf(base, 'ssh_keys', id),
    name: key.name,
    key_type: key.type,
    fingerprint: key.fingerprint,
    public_key: `${key.type} ${key.blob}`,
    created_at: printTime(key.createdAt),
    user: isUsers ? { id: ownerId, resource_type: 'user', url: urlOf(base, 'users', ownerId) } : null,
    api_client: isUsers
      ? null
      : { id: ownerId, resource_type: 'api_client', url: urlOf(base, 'api_clients', ownerId) },
  }
}
