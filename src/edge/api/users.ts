import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import type { UserAttributes } from '#control/auth/auth.ts'
import type { App } from '#edge/http/app.ts'
import type { User } from '#model/user.ts'
import { printUser, UserSchema, type UserUpdateJson, UserUpdateSchema } from '#schema/user.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** People: those of the account, and `/user`, who asks. Collaborations are always none. */
export function userRoutes(app: App, deps: ApiDeps): void {
  const { auth } = deps

  async function printAll(request: FastifyRequest, users: readonly User[]) {
    const accounts = await auth.accounts.list(sessionOf(request))
    const base = baseOf(request, deps)
    return users.map((user) =>
      // An account that the caller cannot act on is nothing he should learn of.
      printUser(
        user,
        accounts.filter(({ id }) => user.accountIds.includes(id)),
        base,
      ),
    )
  }
  const print = async (request: FastifyRequest, user: User) => (await printAll(request, [user]))[0]

  app.get('/users', { schema: LIST_DOCS }, async (request) =>
    printAll(request, await auth.users.list(sessionOf(request))),
  )
  app.get<ById>('/users/:id', { schema: one('showUser', 'Show a user') }, async (request) =>
    print(request, await auth.users.show(sessionOf(request), request.params.id)),
  )
  app.get('/user', { schema: one('showSelf', 'Show the user who asks') }, async (request) =>
    print(request, await auth.users.self(sessionOf(request))),
  )
  app.put<ById & { Body: UserUpdateJson }>('/users/:id', { schema: UPDATE_DOCS }, async (request) => {
    const attributes = parseAttributes(request.body)
    return print(request, await auth.users.update(sessionOf(request), request.params.id, attributes))
  })
  app.put<{ Body: UserUpdateJson }>('/user', { schema: UPDATE_SELF_DOCS }, async (request) => {
    const self = await auth.users.self(sessionOf(request))
    const attributes = parseAttributes(request.body)
    return print(request, await auth.users.update(sessionOf(request), self.id, attributes))
  })

  app.get('/collaborations', { schema: none('listCollaborations') }, async () => [])
  app.get('/user/collaborations', { schema: none('listOwnCollaborations') }, async () => [])
}

function parseAttributes(body: UserUpdateJson): UserAttributes {
  if (body.password_confirmation !== undefined && body.password_confirmation !== body.password) {
    throw new LibraryError('invalid', 'password_confirmation must be the same as password')
  }
  return {
    ...(body.name === undefined ? {} : { name: body.name }),
    ...(body.email_address === undefined ? {} : { email: body.email_address }),
    ...(body.ssh_key === undefined ? {} : { sshKey: body.ssh_key || null }),
    ...(body.password === undefined ? {} : { password: body.password }),
  }
}

const one = (id: string, summary: string) =>
  docs({ tag: 'users', id, summary, answers: { 200: named(UserSchema) } })

const none = (id: string) =>
  docs({
    tag: 'users',
    id,
    summary: 'Always an empty list: this library has no collaborations',
    answers: { 200: Type.Array(Type.Unknown(), { maxItems: 0 }) },
  })

const LIST_DOCS = docs({
  tag: 'users',
  id: 'listUsers',
  summary: 'List the users of the account',
  answers: { 200: listOf(UserSchema) },
})

const UPDATE_DOCS = { ...one('updateUser', 'Change what is named'), body: named(UserUpdateSchema) }
const UPDATE_SELF_DOCS = { ...UPDATE_DOCS, operationId: 'updateSelf' }
