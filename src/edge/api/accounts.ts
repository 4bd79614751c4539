import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import type { App } from '#edge/http/app.ts'
import type { Account } from '#model/account.ts'
import { type AccountNested, AccountSchema, AccountUpdateSchema, printAccount } from '#schema/account.ts'
import { baseOf, sessionFor, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { readWordQuery } from './query.ts'
import { docs, listOf, named } from './route-docs.ts'

/** Accounts by id, and `/account`: the one that is acted on. */
export function accountRoutes(app: App, deps: ApiDeps): void {
  const { auth, library, servers } = deps

  async function readNested(request: FastifyRequest, accountId: string): Promise<AccountNested> {
    const session = await sessionFor(auth, request, accountId)
    const [clients, images, users, zones, shownServers, shownVolumes] = await Promise.all([
      auth.clients.list(session),
      library.list(session),
      auth.users.list(session),
      library.zones(session),
      servers.list(session),
      servers.listVolumes(session),
    ])
    return {
      owner: users[0],
      clients,
      images: images.filter((image) => image.accountId === accountId),
      users,
      zones: zones.map(({ id, handle }) => ({ id, name: handle })),
      servers: shownServers.map(({ server }) => server).filter(({ status }) => status !== 'deleted'),
      volumes: shownVolumes.map(({ volume }) => volume).filter(({ status }) => status !== 'deleted'),
    }
  }

  async function print(request: FastifyRequest, account: Account) {
    const isNested = readWordQuery(request, 'nested', ['true', 'false']) !== 'false'
    const nested = isNested ? await readNested(request, account.id) : undefined
    // Whoever may see an account may see what it uses, also where it is suspended and can be acted on by nobody.
    const use = await servers.use({ ...sessionOf(request), accountId: account.id })
    return printAccount(account, use, baseOf(request, deps), nested)
  }

  app.get('/accounts', { schema: LIST_DOCS }, async (request) => {
    const accounts = await auth.accounts.list(sessionOf(request))
    return Promise.all(accounts.map((account) => print(request, account)))
  })

  for (const url of ['/accounts/:id', '/account'] as const) {
    const idOf = (request: FastifyRequest<ById>) => request.params.id ?? sessionOf(request).accountId
    const suffix = url === '/account' ? 'OwnAccount' : 'Account'
    app.get<ById>(url, { schema: showDocs(`show${suffix}`) }, async (request) =>
      print(request, await auth.accounts.show(sessionOf(request), idOf(request))),
    )
    app.put<ById & { Body: Static<typeof AccountUpdateSchema> }>(
      url,
      {
        schema: {
          ...showDocs(`update${suffix}`),
          summary: 'Rename an account',
          body: named(AccountUpdateSchema),
        },
      },
      async (request) =>
        print(request, await auth.accounts.update(sessionOf(request), idOf(request), request.body)),
    )
  }
}

const NESTED = {
  nested: Type.Optional(Type.String({ description: 'false: without the lists of what it holds' })),
}

const LIST_DOCS = docs({
  tag: 'accounts',
  id: 'listAccounts',
  summary: 'List the accounts that the caller may act on',
  answers: { 200: listOf(AccountSchema) },
  query: NESTED,
})

const showDocs = (id: string) =>
  docs({
    tag: 'accounts',
    id,
    summary: 'Show an account',
    answers: { 200: named(AccountSchema) },
    query: NESTED,
  })
