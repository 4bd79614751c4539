import type { App } from '#edge/http/app.ts'
import { printSshKey, type SshKeyCreateJson, SshKeyCreateSchema, SshKeySchema } from '#schema/ssh-key.ts'
import { baseOf, sessionOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { docs, listOf, named } from './route-docs.ts'

/** Public keys for the SFTP service; a part of this API that the Brightbox API does not have. */
export function sshKeyRoutes(app: App, deps: ApiDeps): void {
  const { keys } = deps.auth

  app.get('/ssh_keys', { schema: LIST_DOCS }, async (request) =>
    (await keys.list(sessionOf(request))).map((key) => printSshKey(key, baseOf(request, deps))),
  )

  app.post<{ Body: SshKeyCreateJson }>('/ssh_keys', { schema: ADD_DOCS }, async (request, reply) => {
    const { public_key: line, name, api_client: clientId } = request.body
    const key = await keys.add(sessionOf(request), { line, name, clientId })
    const body = printSshKey(key, baseOf(request, deps))
    reply.code(201).header('location', body.url)
    return body
  })

  app.get<ById>('/ssh_keys/:id', { schema: one('showSshKey', 'Show a public key') }, async (request) =>
    printSshKey(await keys.show(sessionOf(request), request.params.id), baseOf(request, deps)),
  )

  const remove = one('removeSshKey', 'Remove a public key; whoever is logged in with it stays so')
  app.delete<ById>('/ssh_keys/:id', { schema: remove }, async (request) =>
    printSshKey(await keys.remove(sessionOf(request), request.params.id), baseOf(request, deps)),
  )
}

const tag = 'ssh keys'

const one = (id: string, summary: string) => docs({ tag, id, summary, answers: { 200: named(SshKeySchema) } })

const LIST_DOCS = docs({
  tag,
  id: 'listSshKeys',
  summary: "List the user's public keys and those of the account's API clients",
  answers: { 200: listOf(SshKeySchema) },
})

const ADD_DOCS = {
  ...docs({
    tag,
    id: 'addSshKey',
    summary: 'Let in a public key over SFTP',
    answers: { 201: named(SshKeySchema) },
  }),
  body: named(SshKeyCreateSchema),
}
