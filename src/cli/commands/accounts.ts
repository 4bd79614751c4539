import type { Api } from '../api.ts'
import { ApiError, CommandError } from '../failure.ts'
import type { Session } from '../session.ts'
import type { Row } from '../table.ts'

export interface AccountJson {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly cloud_ips_limit: number | null
  readonly load_balancers_limit: number | null
  readonly ram_limit: number | null
  readonly ram_used: number | null
}

interface CollaborationJson {
  readonly status: string
  readonly account: { readonly id: string; readonly name: string } | null
}

const CLIENT_FIELDS = ['id', 'name', 'cloud_ips_limit', 'lb_limit', 'ram_limit', 'ram_used', 'ram_free']
const USER_FIELDS = ['id', 'cloud_ips_limit', 'lb_limit', 'ram_limit', 'ram_used', 'ram_free', 'role', 'name']
const SHOW_FIELDS = ['id', 'name', 'cloud_ip_limit', 'ram_limit', 'ram_used', 'lb_limit', 'ram_free']

const accountRow = (account: AccountJson): Record<string, Row[string]> => ({
  id: account.id,
  name: account.name,
  cloud_ips_limit: account.cloud_ips_limit,
  cloud_ip_limit: account.cloud_ips_limit,
  lb_limit: account.load_balancers_limit,
  ram_limit: account.ram_limit,
  ram_used: account.ram_used,
  ram_free: Math.max(0, (account.ram_limit ?? 0) - (account.ram_used ?? 0)),
})

/** All accounts that a user, or the one that an API client, acts for. */
export const readAccounts = (api: Api): Promise<AccountJson[]> =>
  api.get('accounts', { attempt: 'list accounts', scoped: false, query: { nested: 'false' } })

const readOwnAccount = (api: Api): Promise<AccountJson> =>
  api.get('account', { attempt: 'read the account', scoped: false })

/** Lists the accounts one can act for; users also see their role and who has invited them. */
export async function list(session: Session) {
  const { api, client } = await session.connect()
  if (!client.isUser) {
    const accounts = [await readOwnAccount(api)]
    return session.printRows(CLIENT_FIELDS, accounts.map(accountRow), accounts)
  }
  const accounts = await readAccounts(api)
  const attempt = 'list collaborations'
  const collaborations = await api.get<CollaborationJson[]>('user/collaborations', { attempt, scoped: false })
  const accepted = collaborations.filter(({ status }) => status === 'accepted')
  const isShared = (id: string) => accepted.some(({ account }) => account?.id === id)
  const rows = accounts.map((account) => ({
    ...accountRow(account),
    role: isShared(account.id) ? 'collaborator' : 'owner',
  }))
  const invitations = collaborations.filter(({ status }) => status === 'pending')
  const invited = invitations.map(({ account }) => ({ ...account, role: '(invited)' }))
  session.printRows(
    USER_FIELDS,
    [...rows, ...invited],
    [...accounts.map((account, index) => ({ ...account, role: rows[index]?.role })), ...invited],
  )
}

async function findAccount(session: Session, id: string): Promise<AccountJson | undefined> {
  const { api, client } = await session.connect()
  try {
    const account = client.isUser
      ? await api.get<AccountJson>(`accounts/${encodeURIComponent(id)}`, {
          attempt: `read account ${id}`,
          scoped: false,
        })
      : await readOwnAccount(api)
    return account.id === id ? account : undefined
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

export async function show(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the accounts to show')
  const accounts: AccountJson[] = []
  for (const id of ids) {
    const account = await findAccount(session, id)
    if (account) accounts.push(account)
    else session.terminal.info(`WARN: Couldn't find account ${id}`)
  }
  if (accounts.length === 0) throw new CommandError('read accounts: none of these exists')
  const records = accounts.map((account) => {
    const row = accountRow(account)
    return SHOW_FIELDS.map((field) => [field, row[field]] as const)
  })
  session.printRecords(records, accounts.length === 1 ? accounts[0] : accounts)
}

/** Makes an account the one that commands act for from now on. */
export async function setDefault(session: Session, ids: readonly string[]) {
  const id = ids[0]
  if (id === undefined) throw new CommandError('You must specify the account-id to set as default.')
  const account = await findAccount(session, id)
  if (account === undefined) {
    throw new CommandError(`Couldn't find '${id}'`, { hint: 'brightbox accounts list shows those there are' })
  }
  const { client } = await session.connect()
  const config = await session.config()
  config.file.set(client.section, 'default_account', id)
  await config.save()
  if (session.options.json) session.printJson(account)
}
