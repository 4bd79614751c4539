import { setTimeout as delay } from 'node:timers/promises'
import type { Member } from '../../test/support/large-library.ts'
import type { ImageJson } from '../../test/support/registration.ts'

/** Asks for all of them at once. @returns seconds until all are available, and their ids */
export async function registerAll(
  api: Pick<Member, 'call'>,
  urls: readonly string[],
): Promise<{ seconds: number; ids: string[] }> {
  const began = performance.now()
  const ids = await Promise.all(
    urls.map(async (url) => {
      const { status, body } = await api.call('POST', '/1.0/images', { http_url: url, arch: 'x86_64' })
      if (status !== 201) throw new Error(`${url}: ${status} ${JSON.stringify(body)}`)
      return body.id
    }),
  )
  for (const waiting = new Set(ids); waiting.size > 0; await delay(50)) {
    const { body } = await api.call<ImageJson[]>('GET', '/1.0/images')
    for (const { id, status, failure } of body) {
      if (status === 'available') waiting.delete(id)
      else if (status !== 'creating') throw new Error(`${id}: ${status} ${JSON.stringify(failure)}`)
    }
  }
  return { seconds: (performance.now() - began) / 1000, ids }
}
