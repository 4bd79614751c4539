import ssh2, { type AuthContext, type PublicKeyAuthContext } from 'ssh2'
import type { Desk } from './rpc-methods.ts'
import { isSignedBySecurityKey } from './security-key.ts'

const METHODS: ('password' | 'publickey')[] = ['password', 'publickey']
/** Keys that a client may offer without proving anything: it tries all that its user has. */
const OFFERS_MAX = 20
/** Nobody's password or user name is longer. */
const TEXT_MAX = 1024

export interface AuthenticationOptions {
  readonly desk: Pick<Desk, 'loginByPassword' | 'loginByKey' | 'knowsKey'>
  readonly address: string
  /** Failed attempts before the connection ends. */
  readonly tries: number
  readonly end: () => void
}

/** Answers the attempts of one connection. */
export function createAuthentication({ desk, address, tries, end }: AuthenticationOptions) {
  let failures = 0
  let offers = 0

  function refuse(context: AuthContext): undefined {
    failures++
    if (failures >= tries) end()
    else context.reject(METHODS)
    return undefined
  }

  async function tryKey(context: PublicKeyAuthContext): Promise<number | undefined> {
    const { username, key, signature, blob, hashAlgo } = context
    if (!signature || !blob) {
      if (++offers > OFFERS_MAX) end()
      else if (await desk.knowsKey(username, key.data)) context.accept()
      else context.reject(METHODS)
      return undefined
    }
    if (!isSignedBy(key.data, blob, signature, hashAlgo)) return refuse(context)
    const login = await desk.loginByKey(username, key.data, address)
    if (login === undefined) return refuse(context)
    context.accept()
    return login
  }

  /** @returns the number of the login that the client has from now on; undefined where it has none */
  return async (context: AuthContext): Promise<number | undefined> => {
    if (context.username.length > TEXT_MAX) return refuse(context)
    if (context.method === 'publickey') return await tryKey(context)
    if (context.method !== 'password') {
      // Every client begins with `none`, to be told what there is.
      context.reject(METHODS)
      return undefined
    }
    if (context.password.length > TEXT_MAX) return refuse(context)
    const login = await desk.loginByPassword(context.username, context.password, address)
    if (login === undefined) return refuse(context)
    context.accept()
    return login
  }
}

function isSignedBy(key: Buffer, blob: Buffer, signature: Buffer, hashAlgo: string | undefined): boolean {
  const bySecurityKey = isSignedBySecurityKey(key, blob, signature)
  if (bySecurityKey !== undefined) return bySecurityKey
  const parsed = ssh2.utils.parseKey(key)
  if (parsed instanceof Error) return false
  // SHA-1, which nobody should believe.
  if (parsed.type === 'ssh-dss' || (parsed.type === 'ssh-rsa' && hashAlgo === undefined)) return false
  return parsed.verify(blob, signature, hashAlgo) === true
}
