import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import type { Servers } from '#control/servers/servers.ts'
import type { Session } from '#model/session.ts'
import { basic, startApi } from '../../../test/support/api-server.ts'
import { createFakeServers } from '../../../test/support/fake-servers.ts'

/** As far as it is needed here; references are resolved on the way. */
interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly maxLength?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}
interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly schema: Schema }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}

const api = JSON.parse(readFileSync(new URL('../../../docs/api/openapi.json', import.meta.url), 'utf8')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}
const resolved = (schema: Schema): Schema =>
  schema.$ref === undefined ? schema : (api.components.schemas[schema.$ref.split('/').at(-1)!] ?? schema)

/** Longer than any answer takes; on a machine that has much else to do, too. */
const PATIENCE_MS = 20_000
const LONG = 'x'.repeat(70_000)
const DEEP = '['.repeat(20_000) + ']'.repeat(20_000)

/** There is one server with one volume, and nothing else. */
const servers = new Proxy(createFakeServers(), {
  get(fake, name: keyof Servers) {
    const method = fake[name] as (...args: unknown[]) => unknown
    return (session: Session, ...rest: unknown[]) => {
      const [id] = rest
      if (typeof id === 'string' && !/^(?:srv|vol)-12345$/.test(id))
        throw new LibraryError('not_found', 'there is no such server')
      return method.call(fake, session, ...rest)
    }
  },
})
const server = await startApi({ servers })
after(() => server[Symbol.asyncDispose]())
const { id: image } = (
  await server.call<{ id: string }>('POST', '/1.0/images', { name: 'i', arch: 'x86_64', upload: true })
).body
const { id: client } = (await server.call<{ id: string }>('POST', '/1.0/api_clients', { name: 'c' })).body
const password = 'correct horse battery'
const user = await server.auth.operator.createUser({
  name: 'U',
  email: 'u@example.com',
  password,
  accountIds: [server.account.id],
})
const issued = await fetch(`${server.url}/token`, {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: basic('app-12345', 'mocbuipbiaa6k6c') },
  body: JSON.stringify({ grant_type: 'password', username: 'u@example.com', password }),
})
const usersToken = ((await issued.json()) as { access_token: string }).access_token

/** What there is, by the part of a path. */
const IDS: Readonly<Record<string, string>> = {
  accounts: server.account.id,
  api_clients: client,
  images: image,
  servers: 'srv-12345',
  users: user.id,
}
/** What is right besides the field that is not. */
const BASES: Readonly<Record<string, object>> = {
  'POST /token': { grant_type: 'client_credentials', client_id: server.client.id, client_secret: 'wrong' },
  'POST /1.0/images': { arch: 'x86_64', upload: true },
  'POST /1.0/servers': { image },
  'POST /1.0/ssh_keys': { public_key: 'ssh-ed25519 AAAA' },
}

/** JSON texts that no field of this kind may have. */
function* wrongValues(schema: Schema): Generator<readonly [what: string, json: string]> {
  const types = [schema.type ?? []].flat()
  yield ['too deep', DEEP]
  yield ['too many', JSON.stringify(Array.from({ length: 10_000 }, () => 0))]
  yield [
    'many names',
    JSON.stringify(Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`n${n}`, n]))),
  ]
  yield ['too long', JSON.stringify(LONG)]
  if (!types.includes('boolean')) yield ['a truth', 'true']
  if (!types.includes('string')) yield ['a text', '"1"']
  for (const number of ['1e308', '-1', '9007199254740993', '0.5', '1e999', '-1e999', '9'.repeat(5000)])
    yield [`the number ${number.slice(0, 20)}`, number]
}

/** Every field of a body, with those inside it, and a body in which it has this JSON. */
function* fieldsOf(
  schema: Schema,
  base: object,
): Generator<readonly [name: string, schema: Schema, bodyWith: (json: string) => string]> {
  const { properties = {} } = resolved(schema)
  for (const [name, found] of Object.entries(properties)) {
    const field = resolved(found)
    const { [name]: _replaced, ...rest } = base as Record<string, unknown>
    const others = JSON.stringify(rest).slice(1, -1)
    const bodyWith = (json: string) => `{${others}${others === '' ? '' : ','}${JSON.stringify(name)}:${json}}`
    yield [name, field, bodyWith]
    if (field.items === undefined) continue
    const items = resolved(field.items)
    yield [name, items, (json) => bodyWith(`[${json}]`)]
    for (const [inner, of, within] of fieldsOf(items, {}))
      yield [inner, of, (json) => bodyWith(`[${within(json)}]`)]
  }
}

interface Sent {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** What somebody who may do it is told. */
async function refused(method: string, path: string, { body, headers = {} }: Sent = {}): Promise<string> {
  const token = /^\/1\.0\/users?\b/.test(path) ? usersToken : server.token
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  const text = await response.text()
  assert.ok(response.status >= 400 && response.status < 500, `${response.status} ${text.slice(0, 300)}`)
  assert.ok(text.length < 20_000, `an answer of ${text.length} characters`)
  return text
}

const names = (text: string, field: string) =>
  assert.ok(
    text.toLowerCase().includes(field.replace(/_id$/, '')),
    `${field} is not named: ${text.slice(0, 300)}`,
  )

const withIds = (path: string) =>
  path.replace(/(\w+)\/\{id\}/, (_, kind: string) => `${kind}/${IDS[kind] ?? 'none'}`)

describe('what is too long, too deep, too much or of another type is refused by name', () => {
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [lower, { parameters = [], requestBody }] of Object.entries(methods)) {
      const method = lower.toUpperCase()
      const where = withIds(path)
      test(`${method} ${path}`, async () => {
        const base = BASES[`${method} ${path}`] ?? {}
        const body = requestBody?.content['application/json']?.schema ?? {}
        for (const [name, field, bodyWith] of fieldsOf(body, base)) {
          for (const [what, json] of wrongValues(field)) {
            const text = await refused(method, where, { body: bodyWith(json) }).catch((error) => {
              throw new Error(`${name}, ${what}: ${error}`)
            })
            // OAuth has words of its own for credentials that are no good.
            if (path !== '/token') names(text, name)
          }
        }
        if (requestBody) {
          for (const json of [DEEP, '"x"', '5', '[]', `{"${LONG}":1}`, '{"a":'.repeat(20_000), '{'])
            await refused(method, where, { body: json })
          names(await refused(method, where, { body: JSON.stringify('x'.repeat(300_000)) }), 'body')
        }
        for (const { in: place, name, schema } of parameters) {
          if (place === 'query') {
            // Any text that is not too long may be looked for.
            const others = schema.maxLength === undefined ? ['-1', '1e308', '%ff'] : ['%0a']
            for (const value of ['x'.repeat(3000), '9'.repeat(400), '%00', ...others])
              names(await refused(method, `${where}?${name}=${value}`, withBody(requestBody)), name)
            names(await refused(method, `${where}?${name}=1&${name}=2`, withBody(requestBody)), name)
          } else if (place === 'path') {
            for (const value of [
              'x'.repeat(3000),
              'x'.repeat(9000),
              '%00',
              '%ff',
              '..%2f..',
              '9'.repeat(400),
            ])
              await refused(method, path.replace(`{${name}}`, value), withBody(requestBody))
          } else if (place === 'header') {
            for (const value of ['x'.repeat(9000), `bytes 0-0/${'9'.repeat(400)}`, 'bytes 9-1/*', '-1'])
              names(await refused(method, where, { headers: { [name]: value }, body: 'x' }), name)
          }
        }
        await refused(method, `${where}?${'a=1&'.repeat(20_000)}`, withBody(requestBody))
      })
    }
  }
})

const withBody = (body: Operation['requestBody']): Sent => (body ? { body: '{}' } : {})
