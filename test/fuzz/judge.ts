import assert from 'node:assert/strict'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import type { Random, Target, Verdict } from './target.ts'

/** What one input may make a reader allocate outside the heap, bytes, however much of it is let go of at once. */
const MAX_ALLOCATED = 320 << 20

/**
 * Reads an input twice, in other pieces the second time.
 * @throws AssertionError, or whatever the reader throws that is no LibraryError: a finding
 */
export async function judge(target: Target, input: Uint8Array, random: Random): Promise<Verdict> {
  const before = process.memoryUsage().arrayBuffers
  const verdict = await readOnce(target, input, random)
  const allocated = process.memoryUsage().arrayBuffers - before
  assert.ok(allocated <= MAX_ALLOCATED, `${allocated} bytes were allocated`)
  const again = await readOnce(target, input, random)
  assert.equal(
    brief(again, target),
    brief(verdict, target),
    'it depends on the pieces in which the input arrives',
  )
  if (verdict.kind === 'accepted' && again.kind === 'accepted') {
    assert.ok(Buffer.compare(again.output, verdict.output) === 0, 'what is read depends on the pieces')
  }
  return verdict
}

async function readOnce(target: Target, input: Uint8Array, random: Random): Promise<Verdict> {
  try {
    return { kind: 'accepted', output: await target.read(input, random) }
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error
    const isRefusal = error instanceof Refusal
    const category = isRefusal ? error.category : error.code
    return { kind: 'refused', isRefusal, category, message: error.message }
  }
}

function brief(verdict: Verdict, { isConcurrent = false }: Target): string {
  if (verdict.kind === 'accepted') return `accepted, ${verdict.output.length} bytes`
  return isConcurrent && verdict.isRefusal ? 'refused' : `refused: ${verdict.category}`
}

/** Inputs that end alike have the same signature. */
export function signatureOf(verdict: Verdict): string {
  return verdict.kind === 'accepted'
    ? `accepted ${Math.ceil(Math.log2(verdict.output.length + 1))}`
    : `${verdict.category} ${verdict.message.replaceAll(/\d+/g, '0')}`
}
