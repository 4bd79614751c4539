import type { Catalog } from '#control/catalog/catalog.ts'
import type { ApiClient } from '#model/api-client.ts'
import { isId } from '#model/ids.ts'
import type { Session } from '#model/session.ts'
import type { User } from '#model/user.ts'
import type { Auth, AuthResult, OrbitIdentity, OrbitName, Scope } from './auth.ts'
import type { Bearer, IssueTokens } from './issue-tokens.ts'
import { type Logins, refused, UNKNOWN_CLIENT } from './logins.ts'
import { sha256 } from './secrets.ts'
import { fingerprintOf, tryPublicKey } from './ssh-public-key.ts'
import { standingBy, standingOf } from './standing.ts'

export interface OrbitLoginsDeps {
  readonly catalog: Catalog
  readonly logins: Logins
  readonly issueTokens: IssueTokens
  readonly now: () => number
}

const ORBIT: readonly Scope[] = ['orbit']

/** Somebody who proved who he is, and the account that he acts on. */
interface Arrival {
  readonly bearer: Bearer
  readonly accountId: string
  /** All that he could act on. */
  readonly accountIds: readonly string[]
}

/** Swift's v1 auth with the account in the address or in the user's name, and SSH's. */
export function createOrbitLogins({ catalog, logins, issueTokens, now }: OrbitLoginsDeps): Auth['orbit'] {
  /** Which account it is is only said to who proved who he is. */
  async function arrive(principal: Principal, wanted: string | undefined): Promise<AuthResult<Arrival>> {
    const accounts = await Promise.all(principal.accountIds.map((id) => catalog.accounts.find(id)))
    const accountIds = accounts.flatMap((own) => (own?.status === 'active' ? [own.id] : []))
    const accountId = wanted === undefined ? accountIds[0] : accountIds.find((id) => id === wanted)
    if (accountId === undefined) return NO_ACCOUNT
    return { ok: true, value: { bearer: principal.bearer, accountId, accountIds } }
  }

  async function checkPassword(name: string, key: string, address = ''): Promise<AuthResult<Checked>> {
    if (isId('cli', name)) {
      const client = await logins.checkClient({ id: name, secret: key }, address)
      if (!client.ok) return client
      const standing = standingBy(client.value.permissions, sha256(key))
      return { ok: true, value: { principal: clientPrincipal(client.value), standing } }
    }
    const user = await logins.checkUser(name, key, address)
    if (!user.ok) return user
    const standing = standingBy('full', user.value.password)
    return { ok: true, value: { principal: userPrincipal(user.value.user), standing } }
  }

  async function findByKey(name: string, blob: Uint8Array): Promise<Principal | undefined> {
    const fingerprint = fingerprintOf(blob)
    if (isId('cli', name)) {
      const client = await catalog.apiClients.find(name)
      const key = await catalog.sshKeys.findOfOwner(name, fingerprint)
      return client?.revokedAt === null && key ? clientPrincipal(client) : undefined
    }
    const user = await logins.findUser(name)
    if (!user) return undefined
    const isOwn =
      (user.sshKey ?? '').split('\n').some((line) => tryPublicKey(line)?.fingerprint === fingerprint) ||
      (await catalog.sshKeys.findOfOwner(user.id, fingerprint))
    return isOwn ? userPrincipal(user) : undefined
  }

  return {
    async login({ key, address, ...name }) {
      const { principal: own, accountId: wanted } = readName(name) ?? UNREADABLE
      if (own === '' || key === '') return UNKNOWN_CLIENT
      const checked = await checkPassword(own, key, address)
      if (!checked.ok) return checked
      const { principal, standing } = checked.value
      const arrival = await arrive(principal, wanted)
      if (!arrival.ok) return arrival
      const { bearer, accountId } = arrival.value
      return catalog.transaction(async (tables) => {
        // Nothing may have changed since the password was checked, or this token would outlive it.
        if ((await standingOf(tables, { ...bearer, accountId })) !== standing) return UNKNOWN_CLIENT
        const { accessToken, expiresIn } = await issueTokens(tables, bearer, ORBIT, { refresh: false })
        return { ok: true, value: { token: accessToken, expiresIn, accountId } }
      })
    },

    async loginByKey({ key, ...name }) {
      const { principal, accountId: wanted } = readName(name) ?? UNREADABLE
      const found = await findByKey(principal, key)
      const arrival = found ? await arrive(found, wanted) : UNKNOWN_KEY
      if (!arrival.ok) return arrival
      const { bearer, accountId } = arrival.value
      return identity(arrival.value, ORBIT, await standingOf(catalog, { ...bearer, accountId }))
    },

    async identify(token, accountId) {
      const found = /^[0-9a-f]{40}$/.test(token) ? await catalog.tokens.findBearer(sha256(token)) : undefined
      if (found?.token.kind !== 'access') return refused('invalid_token', 'The access token is unknown.')
      if (found.token.expiresAt <= now()) return refused('expired_token', 'The access token has expired.')
      const scopes = found.token.scopes as readonly Scope[]
      if (!scopes.includes('orbit')) return refused('invalid_scope', 'The access token is not for Orbit.')
      const accountIds = found.accounts.flatMap(({ id, status }) => (status === 'active' ? [id] : []))
      const chosen = accountIds.find((id) => id === accountId) ?? accountIds[0]
      if (chosen === undefined) return NO_ACCOUNT
      const standing = standingBy(found.token.permissions, found.credential)
      return identity({ bearer: found.token, accountId: chosen, accountIds }, scopes, standing)
    },
  }
}

const NO_ACCOUNT = refused('invalid_grant', 'There is no such active account for this login.')
const UNKNOWN_KEY = refused('invalid_client', 'The key is none of this user.')
const UNREADABLE = { principal: '', accountId: undefined }

/** @returns undefined where the name and the address are about different accounts */
function readName({ user, accountId }: OrbitName) {
  const [first = '', ...rest] = user.split(':')
  const last = rest.at(-1) ?? ''
  const named = isId('acc', first) && rest.length > 0 ? first : isId('acc', last) ? last : undefined
  if (named === undefined) return { principal: user, accountId }
  if (accountId !== undefined && accountId !== named) return undefined
  const principal =
    named === first ? user.slice(first.length + 1) : user.slice(0, user.length - last.length - 1)
  return { principal, accountId: named }
}

interface Checked {
  readonly principal: Principal
  /** As it was when the password or secret was compared. */
  readonly standing: string
}

interface Principal {
  readonly bearer: Bearer
  readonly accountIds: readonly string[]
}

function clientPrincipal({ id, accountId, permissions }: ApiClient): Principal {
  const bearer: Bearer = { clientId: id, applicationId: null, userId: null, permissions, accountId }
  return { bearer, accountIds: [accountId] }
}

function userPrincipal({ id, accountIds }: User): Principal {
  const bearer: Bearer = {
    clientId: null,
    applicationId: null,
    userId: id,
    permissions: 'full',
    accountId: null,
  }
  return { bearer, accountIds }
}

function identity(
  { bearer, accountId, accountIds }: Arrival,
  scopes: Session['scopes'],
  standing: string | undefined,
): AuthResult<OrbitIdentity> {
  const { clientId, userId, permissions } = bearer
  const groups = accountIds.flatMap((id) => [id, `${id}:${clientId ?? userId}`])
  const session = { accountId, clientId, userId, permissions, scopes, standing }
  return { ok: true, value: { session, groups } }
}
