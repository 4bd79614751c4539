import type { Account } from '#model/account.ts'
import type { AccountLimits } from '#model/account-limits.ts'
import type { ApiClient, PermissionsGroup } from '#model/api-client.ts'
import type { Session } from '#model/session.ts'
import type { SshKey } from '#model/ssh-key.ts'
import type { User } from '#model/user.ts'

export type Scope = 'infrastructure' | 'orbit'

/** The OAuth 2 words (RFC 6749 section 5.2, RFC 6750 section 3.1); `expired_token` is the Brightbox API's own. */
export type AuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_token'
  | 'expired_token'

export interface Refused {
  readonly ok: false
  readonly error: AuthError
  /** One sentence. */
  readonly description: string
  /** Set where too many attempts failed: nothing is checked before this many milliseconds have passed. */
  readonly retryAfterMs?: number
}

export type AuthResult<T> = { readonly ok: true; readonly value: T } | Refused

/** Id and secret of an API client (`cli-`) or an application (`app-`). */
export interface Credentials {
  readonly id: string
  readonly secret: string
}

/** Fields of a token request as they came; what is missing is undefined. */
export interface TokenRequest {
  readonly grantType: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly refreshToken?: string | undefined
  /** Separated by spaces, commas or both. */
  readonly scope?: string | undefined
  /** Where it comes from: too many wrong guesses from there are slowed down. */
  readonly address?: string | undefined
}

export interface IssuedTokens {
  /** 40 hex digits. */
  readonly accessToken: string
  /** Only for the password and refresh grants. */
  readonly refreshToken: string | undefined
  readonly scopes: readonly Scope[]
  /** Seconds. */
  readonly expiresIn: number
}

export interface ApiClientAttributes {
  readonly name?: string | null
  readonly description?: string | null
  readonly permissions?: PermissionsGroup
}

/** A client whose secret was just made: 30 lower-case letters and digits, shown this once and kept as a hash. */
export interface ApiClientWithSecret {
  readonly client: ApiClient
  readonly secret: string
}

export interface SshKeyAttributes {
  /** Its line: type, base64, and perhaps a comment. */
  readonly line: string
  /** By default its comment. */
  readonly name?: string | null | undefined
  /** An API client of the account; by default whoever asks. */
  readonly clientId?: string | undefined
}

export interface UserAttributes {
  readonly name?: string
  readonly email?: string
  readonly sshKey?: string | null
  readonly password?: string
}

/** Who somebody is for Orbit. */
export interface OrbitIdentity {
  readonly session: Session
  /** What access lists may name him by: `acc-xxxxx`, `acc-xxxxx:usr-yyyyy`, `acc-xxxxx:cli-yyyyy`. */
  readonly groups: readonly string[]
}

/** Who wants into Orbit, and on which account. */
export interface OrbitName {
  /**
   * Email or id of a user, or id of an API client; alone, behind an account (`acc-xxxxx:cli-yyyyy`) or before one
   * (`jo@example.com:acc-xxxxx`).
   */
  readonly user: string
  /** The account that the address names, where it names one. */
  readonly accountId?: string | undefined
}

export interface OrbitLogin {
  /** 40 hex digits; an access token for Orbit only. */
  readonly token: string
  /** Seconds. */
  readonly expiresIn: number
  readonly accountId: string
}

/** Somebody, the account that he acts on, and what let him in. */
export type Standee = Pick<Session, 'accountId' | 'clientId' | 'userId' | 'standing'>

/** Somebody has something open: an event stream, a connection. To be disposed of when he leaves. */
export interface Stay extends Disposable {
  /** Aborted when what let him in does so no more. */
  readonly signal: AbortSignal
}

/** Who has something open. */
export interface Stays {
  /**
   * Ends a stay a few seconds after the account is suspended or closed, its user or API client removed, revoked or
   * given other rights, or a password or secret changed.
   * @param isGood asked again and again: what else it hangs on
   */
  enter(who: Standee, isGood?: () => Promise<boolean>): Stay
}

/** Who may ask, and the records of accounts, users and API clients that decide it. */
export interface Auth {
  /** Answers a token request. `credentials` are undefined where the request had none. */
  issue(credentials: Credentials | undefined, request: TokenRequest): Promise<AuthResult<IssuedTokens>>
  /**
   * What an access token stands for.
   * @param accountId the account asked for; by default the client's own or the user's first
   * @throws not_found where the token is good but the account is not one that it may act on
   */
  authenticate(accessToken: string, accountId?: string): Promise<AuthResult<Session>>
  /** For those who stay longer than one request. */
  readonly stays: Stays

  /** Orbit's own ways in, over HTTP and SSH. Suspended accounts count as none. */
  readonly orbit: {
    /** @param name.key password of the user or secret of the API client */
    login(
      name: OrbitName & { readonly key: string; readonly address?: string | undefined },
    ): Promise<AuthResult<OrbitLogin>>
    /**
     * Whether somebody may come in with this public key, once he has proved to have the private one.
     * @param name.key as SSH sends it (RFC 4253 section 6.6)
     */
    loginByKey(name: OrbitName & { readonly key: Uint8Array }): Promise<AuthResult<OrbitIdentity>>
    /**
     * What any access token for Orbit stands for; one query.
     * @param accountId acted on where the bearer is a member of it, else his first account is
     */
    identify(token: string, accountId?: string): Promise<AuthResult<OrbitIdentity>>
  }

  readonly accounts: {
    /** Those that the session could act on: all of a user's, the one of a client. */
    list(session: Session): Promise<Account[]>
    show(session: Session, id: string): Promise<Account>
    update(session: Session, id: string, attributes: { readonly name?: string }): Promise<Account>
  }
  readonly clients: {
    /** Those not revoked, oldest first. */
    list(session: Session): Promise<ApiClient[]>
    create(session: Session, attributes: ApiClientAttributes): Promise<ApiClientWithSecret>
    /** Also a revoked one. */
    show(session: Session, id: string): Promise<ApiClient>
    update(session: Session, id: string, attributes: ApiClientAttributes): Promise<ApiClient>
    /** Idempotent. Its tokens end with it. */
    revoke(session: Session, id: string): Promise<ApiClient>
    /** Tokens that it has end as well. */
    resetSecret(session: Session, id: string): Promise<ApiClientWithSecret>
  }
  /** Public keys for SFTP: a user's own, and those of his account's API clients. */
  readonly keys: {
    /** Oldest first. */
    list(session: Session): Promise<SshKey[]>
    show(session: Session, id: string): Promise<SshKey>
    /** @throws invalid for what is no good public key, conflict where the owner has it or has too many */
    add(session: Session, attributes: SshKeyAttributes): Promise<SshKey>
    remove(session: Session, id: string): Promise<SshKey>
  }
  readonly users: {
    list(session: Session): Promise<User[]>
    show(session: Session, id: string): Promise<User>
    /** @throws not_found where an API client asks */
    self(session: Session): Promise<User>
    update(session: Session, id: string, attributes: UserAttributes): Promise<User>
  }
  /** For whoever runs the library; no session stands behind these. */
  readonly operator: {
    /** @param attributes.imagesContainer whether Orbit shows its images as a container; by default it does */
    createAccount(attributes: { readonly name: string; readonly imagesContainer?: boolean }): Promise<Account>
    /** @param bytes how many its objects in Orbit may have; null for as many as there is room for */
    setOrbitQuota(accountId: string, bytes: number | null): Promise<void>
    /** What its servers may take together; only what is given changes, and what there is already stays. */
    setServerLimits(accountId: string, limits: Partial<AccountLimits>): Promise<AccountLimits>
    listAccounts(): Promise<Account[]>
    /** A suspended account can be acted on by nobody; its servers go on. @throws conflict where it is closed */
    setAccountStatus(id: string, status: 'active' | 'suspended'): Promise<Account>
    createClient(accountId: string, attributes: ApiClientAttributes): Promise<ApiClientWithSecret>
    /** As `clients.revoke`, of any account. */
    revokeClient(id: string): Promise<ApiClient>
    /** @throws conflict where the email is taken */
    createUser(attributes: {
      readonly name: string
      readonly email: string
      readonly password: string
      readonly accountIds: readonly string[]
    }): Promise<User>
    findUser(email: string): Promise<User>
    setPassword(userId: string, password: string): Promise<User>
    /**
     * Tokens and SSH keys go with the user.
     * @param accountId only from this account, where he has others
     * @returns the user with the accounts that are left; with none, he is gone
     */
    removeUser(email: string, accountId?: string): Promise<User>
    /** Removes tokens that expired; returns how many. */
    removeExpiredTokens(): Promise<number>
  }
}
