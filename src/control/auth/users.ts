import { LibraryError } from '#base/errors.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import { may } from '#model/may.ts'
import type { Session } from '#model/session.ts'
import type { User } from '#model/user.ts'
import { demandAccount } from './accounts.ts'
import type { UserAttributes } from './auth.ts'
import { readEmail, readPassword, readSshKey, readText } from './fields.ts'
import { LoginLimit } from './login-limit.ts'
import { hashPassword } from './passwords.ts'

export function createUsers({ catalog, now }: { catalog: Catalog; now: () => number }) {
  /** That an email address is taken tells that somebody has it: nobody is told so of many. */
  const taken = new LoginLimit({ now })

  async function find(session: Session, action: 'see' | 'change', id: string): Promise<User> {
    const user = await catalog.users.find(id)
    const verdict = user ? may(session, { action, user }) : 'not_found'
    if (user && verdict === 'allowed') return user
    if (verdict === 'denied') throw new LibraryError('denied', `${action} user ${id}`)
    throw new LibraryError('not_found', `user ${id} does not exist`)
  }

  /** A new password ends all logins with the old one. */
  async function change(id: string, attributes: UserAttributes): Promise<User> {
    const { name, email, sshKey, password } = attributes
    const set = {
      ...(name === undefined ? {} : { name: readText('name', name, { required: true }) }),
      ...(email === undefined ? {} : { email: readEmail(email) }),
      ...(sshKey === undefined ? {} : { sshKey: readSshKey(sshKey) }),
      ...(password === undefined ? {} : { password: await hashPassword(readPassword(password)) }),
    }
    return catalog.transaction(async (tables) => {
      if (set.email !== undefined) await demandFreeEmail(tables, set.email, id)
      if (Object.keys(set).length > 0) await tables.users.update(id, set)
      if (set.password !== undefined) await tables.tokens.removeOfUser(id)
      const user = await tables.users.find(id)
      if (!user) throw new LibraryError('not_found', `user ${id} does not exist`)
      return user
    })
  }

  return {
    async list(session: Session): Promise<User[]> {
      demandAccount(session, 'see', session.accountId)
      return catalog.users.listOfAccount(session.accountId)
    },
    show: (session: Session, id: string) => find(session, 'see', id),
    async self(session: Session): Promise<User> {
      if (session.userId === null) throw new LibraryError('not_found', 'an API client is not a user')
      return find(session, 'see', session.userId)
    },
    async update(session: Session, id: string, attributes: UserAttributes): Promise<User> {
      await find(session, 'change', id)
      if (attributes.email === undefined) return change(id, attributes)
      if (taken.delayMs(id) > 0) {
        throw new LibraryError('denied', 'change email_address: too many were taken, wait before the next')
      }
      // Before it is looked at, so that many at once count as many.
      taken.begin(id)
      const user = await change(id, attributes)
      taken.takeBack(id)
      return user
    },
    setPassword: (id: string, password: string) => change(id, { password }),
    async findByEmail(email: string): Promise<User> {
      return demandUser(catalog, email)
    },
    async remove(email: string, accountId?: string): Promise<User> {
      return catalog.transaction(async (tables) => {
        const user = await demandUser(tables, email)
        const { id, accountIds } = user
        const left = accountId === undefined ? [] : accountIds.filter((own) => own !== accountId)
        if (accountId !== undefined && left.length === accountIds.length)
          throw new LibraryError('not_found', `user ${email} is no member of account ${accountId}`)
        if (accountId !== undefined && left.length > 0) {
          await tables.users.leave(id, accountId)
        } else {
          await tables.tokens.removeOfUser(id)
          await tables.sshKeys.removeOfOwner(id)
          await tables.users.remove(id)
        }
        return { ...user, accountIds: left }
      })
    },
    async create(attributes: {
      readonly name: string
      readonly email: string
      readonly password: string
      readonly accountIds: readonly string[]
    }): Promise<User> {
      const name = readText('name', attributes.name, { required: true })
      const email = readEmail(attributes.email)
      const password = await hashPassword(readPassword(attributes.password))
      const accountIds = [...new Set(attributes.accountIds)]
      if (accountIds.length === 0)
        throw new LibraryError('invalid', 'accounts must name at least one account')
      return catalog.transaction(async (tables) => {
        await demandFreeEmail(tables, email, undefined)
        for (const id of accountIds) {
          if (!(await tables.accounts.find(id)))
            throw new LibraryError('not_found', `account ${id} does not exist`)
        }
        return tables.users.insert({ name, email, sshKey: null, createdAt: now(), accountIds }, password)
      })
    },
  }
}

async function demandUser({ users }: Pick<Tables, 'users'>, email: string): Promise<User> {
  const user = await users.findByEmail(email)
  if (!user) throw new LibraryError('not_found', `user ${email} does not exist`)
  return user
}

async function demandFreeEmail(tables: Tables, email: string, ownId: string | undefined): Promise<void> {
  const holder = await tables.users.findByEmail(email)
  if (holder && holder.id !== ownId) throw new LibraryError('conflict', `email_address ${email} is taken`)
}
