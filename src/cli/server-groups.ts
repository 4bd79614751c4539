import type { Api } from './api.ts'
import { createCollection } from './collection.ts'

const GROUPS = createCollection<{ readonly id: string }>({
  name: 'server_groups',
  word: 'server group',
  hint: 'this library has no server groups',
})

/** The ids of groups that are named between commas. @throws where one is missing */
export async function needGroups(api: Api, text: string): Promise<string[]> {
  const ids = text.split(/,\s*/).filter(Boolean)
  const groups = await GROUPS.needAll(api, ids, (id) => `Couldn't find server group with ${id}`)
  return groups.map(({ id }) => id)
}
