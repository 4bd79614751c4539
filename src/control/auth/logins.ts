import type { Catalog } from '#control/catalog/catalog.ts'
import type { ApiClient } from '#model/api-client.ts'
import { isId } from '#model/ids.ts'
import type { User } from '#model/user.ts'
import type { AuthError, AuthResult, Credentials, Refused } from './auth.ts'
import type { LoginLimit } from './login-limit.ts'
import { isBusy, verifyPassword } from './passwords.ts'
import { isSecret } from './secrets.ts'

const BUSY_RETRY_MS = 2000

export type Logins = ReturnType<typeof createLogins>

/** Checks what somebody says who he is. */
export function createLogins({ catalog, limit }: { catalog: Catalog; limit: LoginLimit }) {
  /** By email, or by id. */
  const findUser = (name: string): Promise<User | undefined> =>
    isId('usr', name) ? catalog.users.find(name) : catalog.users.findByEmail(name)

  /** Takes as long, and says the same, whether there is such a user or not. */
  async function checkUser(name: string, password: string): Promise<AuthResult<User>> {
    const user = await findUser(name)
    const identity = user?.id ?? name.toLowerCase()
    const stored = user && (await catalog.users.findPassword(user.id))
    // Nothing is waited for from here to the check, or more could come in than may.
    const retryAfterMs = limit.delayMs(identity)
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
    limit.begin(identity)
    if (!(await verifyPassword(password, stored)) || !user) {
      return refused('invalid_client', 'The user name or the password is wrong.')
    }
    limit.succeeded(identity)
    return { ok: true, value: user }
  }

  /**
   * The API client whose secret this is, unless it is revoked. Tries are not limited: nobody guesses 155 bits, while
   * a limit would let any stranger keep a client out.
   */
  async function checkClient({ id, secret }: Credentials): Promise<ApiClient | undefined> {
    const client = isId('cli', id) ? await catalog.apiClients.find(id) : undefined
    const matches = isSecret(secret, client && (await catalog.apiClients.findSecret(id)))
    return matches && client?.revokedAt === null ? client : undefined
  }

  return { findUser, checkUser, checkClient }
}

export function refused(error: AuthError, description: string): Refused {
  return { ok: false, error, description }
}

export const UNKNOWN_CLIENT = refused('invalid_client', 'The client id or its secret is wrong.')
