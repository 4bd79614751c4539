import type { Digest } from '../store.ts'

/** What a server gives with one request. */
const PAGE = 1000
const AT_ONCE = 8
/** Hex digits by which the folders are named. */
const LEAST_DIGITS = 2
const MOST_DIGITS = 8
/** Hex digits that a number holds exactly. */
const EXACT_DIGITS = 12

interface Named {
  readonly digest: Digest
}

/**
 * Lists things in the order of their digests. Digests are spread evenly, so the first page says how many there are;
 * where there are many, the rest is asked for in shards of about a page, several at once.
 * @param list those whose digests begin with these hex digits, behind `after`
 */
export async function* listDigests<T extends Named>(
  list: (digits: string, after: Digest | undefined) => AsyncIterable<T>,
  after?: Digest,
): AsyncGenerator<T> {
  let count = 0
  let first: Digest | undefined
  let last: Digest | undefined
  for await (const item of list('', after)) {
    yield item
    first ??= item.digest
    last = item.digest
    if (++count === PAGE) break
  }
  if (first === undefined || last === undefined || count < PAGE) return
  yield* listShards(list, digitsFor(first, last), last)
}

/** So many that about a page of things has them in common, where a page lies between these two. */
function digitsFor(first: Digest, last: Digest): number {
  const share = (numberOf(last, EXACT_DIGITS) - numberOf(first, EXACT_DIGITS)) / 16 ** EXACT_DIGITS
  const digits = Math.ceil(Math.log(1 / share) / Math.log(16))
  return Math.min(MOST_DIGITS, Math.max(LEAST_DIGITS, digits))
}

const numberOf = (digest: Digest, digits: number) => Number.parseInt(digest.slice(0, digits), 16)

async function* listShards<T>(
  list: (digits: string, after: Digest | undefined) => AsyncIterable<T>,
  digits: number,
  last: Digest,
): AsyncGenerator<T> {
  const start = numberOf(last, digits)
  let next = start
  const running: { readonly items: AsyncIterator<T>; readonly first: Promise<IteratorResult<T>> }[] = []
  const begin = () => {
    const shard = next++
    const name = shard.toString(16).padStart(digits, '0')
    const items = list(name, shard === start ? last : undefined)[Symbol.asyncIterator]()
    const first = items.next()
    // It is awaited when its turn comes.
    first.catch(() => undefined)
    running.push({ items, first })
  }
  try {
    for (let shard = start; shard < 16 ** digits; shard++) {
      while (running.length < AT_ONCE && next < 16 ** digits) begin()
      const [current] = running
      if (!current) return
      for (let item = await current.first; !item.done; item = await current.items.next()) yield item.value
      running.shift()
    }
  } finally {
    await Promise.allSettled(running.map(({ items }) => items.return?.()))
  }
}
