import { createRandom } from '../support/random-disk.ts'
import { readCorpus } from './corpus.ts'
import { judge, signatureOf } from './judge.ts'
import { targetNamed } from './targets.ts'

/** Larger ones are not kept in the repository, bytes. */
const MOST = 8 << 10

/**
 * Chooses of some inputs those that end as none in the corpus does, and makes them smaller as long as they end so.
 * What reached new code but ended like others is left out: the next run finds it again.
 */
export async function smallestOf(name: string, inputs: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const target = targetNamed(name)
  const endingOf = async (input: Uint8Array) => signatureOf(await judge(target, input, createRandom(1)))
  const known = new Set<string>()
  for (const input of [...target.seeds(), ...readCorpus(name)]) known.add(await endingOf(input))
  const kept: Uint8Array[] = []
  for (const input of inputs) {
    const ending = await endingOf(input)
    if (known.has(ending)) continue
    const smaller = await shrink(input, async (candidate) => (await endingOf(candidate)) === ending)
    if (smaller.length > MOST) continue
    known.add(ending)
    kept.push(smaller)
  }
  return kept
}

/** Leaves out pieces, halves first, as long as `holds`. */
async function shrink(
  input: Uint8Array,
  holds: (input: Uint8Array) => Promise<boolean>,
): Promise<Uint8Array> {
  let smallest = input
  for (let size = input.length >> 1; size >= Math.max(1, input.length >> 7); size >>= 1) {
    for (let at = 0; at < smallest.length; ) {
      const without = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)])
      if (await holds(without)) smallest = without
      else at += size
    }
  }
  return smallest
}
