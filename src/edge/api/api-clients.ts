import type { FastifyRequest } from 'fastify'
import type { ApiClientAttributes } from '#control/auth/auth.ts'
import type { App } from '#edge/http/app.ts'
import type { ApiClient } from '#model/api-client.ts'
import {
  type ApiClientCreateJson,
  ApiClientCreateSchema,
  ApiClientSchema,
  ApiClientUpdateSchema,
  printApiClient,
} from '#schema/api-client.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** Ids and secrets that the account's programs authenticate with. */
export function apiClientRoutes(app: App, deps: ApiDeps): void {
  const { auth } = deps

  async function print(request: FastifyRequest, client: ApiClient, secret?: string) {
    const account = await auth.accounts.show(sessionOf(request), client.accountId)
    return printApiClient(client, account, baseOf(request, deps), secret)
  }

  app.get('/api_clients', { schema: LIST_DOCS }, async (request) => {
    const session = sessionOf(request)
    const [account, clients] = await Promise.all([
      auth.accounts.show(session, session.accountId),
      auth.clients.list(session),
    ])
    return clients.map((client) => printApiClient(client, account, baseOf(request, deps)))
  })

  app.post<{ Body: ApiClientCreateJson }>('/api_clients', { schema: CREATE_DOCS }, async (request, reply) => {
    const attributes = parseAttributes(request.body ?? {})
    const { client, secret } = await auth.clients.create(sessionOf(request), attributes)
    const body = await print(request, client, secret)
    reply.code(201).header('location', body.url)
    return body
  })

  app.get<ById>('/api_clients/:id', { schema: one('showApiClient', 'Show an API client') }, async (request) =>
    print(request, await auth.clients.show(sessionOf(request), request.params.id)),
  )

  app.put<ById & { Body: ApiClientCreateJson }>(
    '/api_clients/:id',
    { schema: UPDATE_DOCS },
    async (request) => {
      const attributes = parseAttributes(request.body)
      return print(request, await auth.clients.update(sessionOf(request), request.params.id, attributes))
    },
  )

  const revoke = one('revokeApiClient', 'Revoke an API client; its tokens and what it has open end')
  app.delete<ById>('/api_clients/:id', { schema: revoke }, async (request) =>
    print(request, await auth.clients.revoke(sessionOf(request), request.params.id)),
  )

  const reset = one(
    'resetApiClientSecret',
    'Make a new secret; the old one, its tokens and what they have open end',
  )
  app.post<ById>('/api_clients/:id/reset_secret', { schema: reset }, async (request) => {
    const { client, secret } = await auth.clients.resetSecret(sessionOf(request), request.params.id)
    return print(request, client, secret)
  })
}

const parseAttributes = (body: ApiClientCreateJson): ApiClientAttributes => ({
  ...(body.name === undefined ? {} : { name: body.name }),
  ...(body.description === undefined ? {} : { description: body.description }),
  ...(body.permissions_group === undefined ? {} : { permissions: body.permissions_group }),
})

const one = (id: string, summary: string) =>
  docs({ tag: 'api clients', id, summary, answers: { 200: named(ApiClientSchema) } })

const LIST_DOCS = docs({
  tag: 'api clients',
  id: 'listApiClients',
  summary: "List the account's API clients",
  answers: { 200: listOf(ApiClientSchema) },
})

const CREATE_DOCS = {
  ...docs({
    tag: 'api clients',
    id: 'createApiClient',
    summary: 'Make an API client; its secret is shown this once',
    answers: { 201: named(ApiClientSchema) },
  }),
  body: named(ApiClientCreateSchema),
}

const UPDATE_DOCS = {
  ...one('updateApiClient', 'Change what is named'),
  body: named(ApiClientUpdateSchema),
}
