import type { Api } from './api.ts'
import { ApiError, CommandError } from './failure.ts'

/** What the API keeps under one name and reads by id: images, servers. */
export interface Collection<T> {
  path(id: string, tail?: string): string
  get(api: Api, id: string, attempt?: string): Promise<T>
  /** @returns undefined where there is none of this id, or it is not ours to see */
  find(api: Api, id: string): Promise<T | undefined>
  /** @throws the message of `missing`, with a hint */
  need(api: Api, id: string, missing: (id: string) => string): Promise<T>
  /** Reads all in turn; the first that is missing ends the command. */
  needAll(api: Api, ids: readonly string[], missing: (id: string) => string): Promise<T[]>
  /** The error for one that is missing. */
  missing(message: string): CommandError
}

/** @param hint what somebody can do who named one that is not there */
export function createCollection<T>(of: {
  readonly name: string
  readonly word: string
  readonly hint: string
}): Collection<T> {
  const collection: Collection<T> = {
    path: (id, tail = '') => `${of.name}/${encodeURIComponent(id)}${tail}`,
    get: (api, id, attempt = `read ${of.word} ${id}`) => api.get<T>(collection.path(id), { attempt }),
    async find(api, id) {
      try {
        return await collection.get(api, id)
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return undefined
        throw error
      }
    },
    async need(api, id, missing) {
      const found = await collection.find(api, id)
      if (found === undefined) throw collection.missing(missing(id))
      return found
    },
    async needAll(api, ids, missing) {
      const found: T[] = []
      for (const id of ids) found.push(await collection.need(api, id, missing))
      return found
    },
    missing: (message) => new CommandError(message, { hint: of.hint }),
  }
  return collection
}
