import { type Static, Type } from 'typebox'
import type { Server } from '#model/server.ts'
import { identity, nullableTime, oneOf, printNullableTime, printTime, time, urlOf } from './fields.ts'

export const SERVER_STATUSES = [
  'creating',
  'active',
  'inactive',
  'deleting',
  'deleted',
  'failed',
  'unavailable',
] as const

/** A server inside another object. */
export const NestedServerSchema = Type.Object({
  ...identity('srv', 'server'),
  name: Type.String({ description: 'empty where it has none' }),
  status: oneOf(SERVER_STATUSES),
  locked: Type.Boolean({ description: 'a locked server cannot be destroyed' }),
  hostname: Type.String({ description: 'its id, which is also the name that the guest is given' }),
  fqdn: Type.String({ description: 'the host name in `.internal`; nothing here answers for it in the DNS' }),
  created_at: time(),
  started_at: nullableTime('when its QEMU was last started'),
  deleted_at: nullableTime('a destroyed server stays readable for a while'),
})

export const printNestedServer = (server: Server, base: string): Static<typeof NestedServerSchema> => ({
  id: server.id,
  resource_type: 'server',
  url: urlOf(base, 'servers', server.id),
  name: server.name,
  status: server.status,
  locked: server.locked,
  hostname: server.id,
  fqdn: `${server.id}.internal`,
  created_at: printTime(server.createdAt),
  started_at: printNullableTime(server.startedAt),
  deleted_at: printNullableTime(server.deletedAt),
})
