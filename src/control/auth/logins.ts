import type { Catalog } from '#control/catalog/catalog.ts'
import type { ApiClient } from '#model/api-client.ts'
import { isId } from '#model/ids.ts'
import type { User } from '#model/user.ts'
import type { AuthError, AuthResult, Credentials, Refused } from './auth.ts'
import type { LoginLimits } from './login-limits.ts'
import { isBusy, verifyPassword } from './passwords.ts'
import { isSecret } from './secrets.ts'

const BUSY_RETRY_MS = 2000

export interface CheckedUser {
  readonly user: User
  /** The hash that his password was compared with; it may be another one by the time he is let in. */
  readonly password: string
}

export interface LoginsDeps {
  readonly catalog: Pick<Catalog, 'users' | 'apiClients'>
  readonly limits: LoginLimits
  /** Compares a password with its hash, or with none in the same time. */
  readonly verify?: typeof verifyPassword
}

export type Logins = ReturnType<typeof createLogins>

/** Checks what somebody says who he is. */
export function createLogins({ catalog, limits, verify = verifyPassword }: LoginsDeps) {
  /** By email, or by id. */
  const findUser = (name: string): Promise<User | undefined> =>
    isId('usr', name) ? catalog.users.find(name) : catalog.users.findByEmail(name)

  /** Takes as long, and says the same, whether there is such a user or not. */
  async function checkUser(name: string, password: string, address = ''): Promise<AuthResult<CheckedUser>> {
    const user = await findUser(name)
    const attempt = { identity: user?.id ?? name.toLowerCase(), address }
    const stored = await catalog.users.findPassword(user?.id ?? '')
    // Nothing is waited for from here to the check, or more could come in than may.
    const retryAfterMs = limits.delayMs(attempt)
    if (retryAfterMs > 0) {
      return {
        ...refused('invalid_client', 'Too many wrong passwords: wait before trying again.'),
        retryAfterMs,
      }
    }
    // Not a try that failed: it says nothing of the password, and is said whether there is such a user or not.
    if (isBusy()) {
      return {
        ...refused('invalid_client', 'Too many people log in at this moment: try again.'),
        retryAfterMs: BUSY_RETRY_MS,
      }
    }
    limits.begin(attempt)
    const matches = await verify(password, stored)
    if (!matches || !user || stored === undefined) return WRONG_PASSWORD
    limits.succeeded(attempt)
    return { ok: true, value: { user, password: stored } }
  }

  /**
   * The API client whose secret this is, unless it is revoked. The right secret is never refused: nobody guesses 155
   * bits, while a limit would let any stranger keep a client out. Whoever goes on with wrong ones is told to wait.
   */
  async function checkClient({ id, secret }: Credentials, address = ''): Promise<AuthResult<ApiClient>> {
    const client = await catalog.apiClients.find(id)
    const matches = isSecret(secret, await catalog.apiClients.findSecret(id))
    if (matches && client?.revokedAt === null) return { ok: true, value: client }
    return failed(id, address)
  }

  /** Whether this is the secret of an application, which its users' programs have: everybody knows it. */
  async function checkApplication({ id, secret }: Credentials, address = ''): Promise<AuthResult<undefined>> {
    if (isSecret(secret, await catalog.apiClients.findApplicationSecret(id)))
      return { ok: true, value: undefined }
    return failed(id, address)
  }

  function failed(identity: string, address: string): Refused {
    const attempt = { identity, address }
    const retryAfterMs = limits.delayMs(attempt)
    if (retryAfterMs === 0) {
      limits.begin(attempt)
      return UNKNOWN_CLIENT
    }
    return {
      ...refused('invalid_client', 'Too many wrong secrets: wait before trying again.'),
      retryAfterMs,
    }
  }

  return { findUser, checkUser, checkClient, checkApplication }
}

export function refused(error: AuthError, description: string): Refused {
  return { ok: false, error, description }
}

export const WRONG_PASSWORD = refused('invalid_client', 'The user name or the password is wrong.')
export const UNKNOWN_CLIENT = refused('invalid_client', 'The client id or its secret is wrong.')
