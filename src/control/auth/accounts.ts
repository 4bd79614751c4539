import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Account } from '#model/account.ts'
import type { AccountLimits, Limit } from '#model/account-limits.ts'
import { may } from '#model/may.ts'
import type { Session } from '#model/session.ts'
import { readText } from './fields.ts'

/** Swift's name of it, in the account's metadata. */
const QUOTA = 'quota-bytes'

/** As catalogs hold them: far more than there is of anything. */
const LIMIT_MAX = 2 ** 31 - 1

/** Lets pass who may do this with what hangs on an account. @throws not_found, denied */
export function demandAccount(session: Session, action: 'see' | 'change', id: string): void {
  const verdict = may(session, { action, account: id })
  if (verdict === 'not_found') throw new LibraryError('not_found', `account ${id} does not exist`)
  if (verdict === 'denied') throw new LibraryError('denied', `${action} account ${id}`)
}

export function createAccounts({ catalog, now }: { catalog: Catalog; now: () => number }) {
  async function find(id: string): Promise<Account> {
    const account = await catalog.accounts.find(id)
    if (!account) throw new LibraryError('not_found', `account ${id} does not exist`)
    return account
  }

  /** A user's other accounts are his as well, though the session acts on one of them. */
  async function idsOf(session: Session): Promise<readonly string[]> {
    const user = session.userId === null ? undefined : await catalog.users.find(session.userId)
    return user?.accountIds ?? [session.accountId]
  }

  return {
    async list(session: Session): Promise<Account[]> {
      demandAccount(session, 'see', session.accountId)
      return Promise.all((await idsOf(session)).map(find))
    },
    async show(session: Session, id: string): Promise<Account> {
      const accountId = (await idsOf(session)).find((own) => own === id) ?? session.accountId
      demandAccount({ ...session, accountId }, 'see', id)
      return find(id)
    },
    async update(session: Session, id: string, { name }: { readonly name?: string }): Promise<Account> {
      const accountId = (await idsOf(session)).find((own) => own === id) ?? session.accountId
      demandAccount({ ...session, accountId }, 'change', id)
      if (name !== undefined) await catalog.accounts.rename(id, readText('name', name, { required: true }))
      return find(id)
    },
    async create(attributes: {
      readonly name: string
      readonly imagesContainer?: boolean
    }): Promise<Account> {
      const name = readText('name', attributes.name, { required: true })
      return catalog.transaction(async ({ accounts, orbitAccounts }) => {
        const account = await accounts.insert({ name, status: 'active', createdAt: now() })
        if (attributes.imagesContainer === false) await orbitAccounts.setImagesContainer(account.id, false)
        return account
      })
    },
    /** A closed one stays closed. */
    async setStatus(id: string, status: 'active' | 'suspended'): Promise<Account> {
      return catalog.transaction(async ({ accounts }) => {
        const account = await accounts.find(id)
        if (!account) throw new LibraryError('not_found', `account ${id} does not exist`)
        if (account.status === 'closed') throw new LibraryError('conflict', `account ${id} is closed`)
        await accounts.setStatus(id, status)
        return { ...account, status }
      })
    },
    async setServerLimits(id: string, limits: Partial<AccountLimits>): Promise<AccountLimits> {
      for (const [name, limit] of Object.entries(limits)) demandLimit(name, limit)
      return catalog.transaction(async ({ accounts }) => {
        if (!(await accounts.find(id))) throw new LibraryError('not_found', `account ${id} does not exist`)
        await accounts.setLimits(id, limits)
        return accounts.limits(id)
      })
    },
    async setOrbitQuota(id: string, bytes: number | null): Promise<void> {
      await catalog.transaction(async ({ orbitAccounts }) => {
        const account = await orbitAccounts.findToChange(id)
        if (!account) throw new LibraryError('not_found', `account ${id} does not exist`)
        const { [QUOTA]: _, ...others } = account.metadata
        await orbitAccounts.setMetadata(id, bytes === null ? others : { ...others, [QUOTA]: String(bytes) })
      })
    },
  }
}

function demandLimit(name: string, limit: Limit): void {
  if (limit === 'none' || limit === 'default') return
  if (Number.isInteger(limit) && limit >= 0 && limit <= LIMIT_MAX) return
  throw new LibraryError('invalid', `${name} must be none, default or a whole number from 0 to ${LIMIT_MAX}`)
}
