import { KiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'

const SLOT_SIZE = 128 * KiB
const SLOT_COUNT = 8
/** So many slots ahead of the consumer, the socket rests; what TLS had decrypted by then still finds room. */
const REST_AHEAD = SLOT_COUNT - 2
/** Below this rest of a slot, the next read goes to the next slot: a TLS record brings up to 16 KiB. */
const MIN_READ = 16 * KiB

/** Memory that a socket reads into and a consumer reads from, in turns and without copying; 1 MiB at most. */
export interface ReceiveSlots {
  /** Where the next read of the socket goes. */
  region(): Uint8Array
  /** Takes `[start, end)` of the region as received; what lies between the pieces of one read is closed up. */
  append(start: number, end: number): void
  /** Moves the region behind what was appended; called after each read. */
  settle(): void
  /** The socket is to read no more until `onRoom`. */
  readonly shouldRest: boolean
  /** The next bytes, valid until the next call; undefined where nothing has arrived yet. */
  take(): Uint8Array | undefined
  readonly isEmpty: boolean
}

/**
 * Hands fixed slots around: reading into the same memory again and again costs a quarter of what fresh buffers do,
 * and memory stays flat (docs/decisions/0024-our-own-http-reader.md).
 * @param onRoom called once the consumer has caught up after `shouldRest`
 */
export function createReceiveSlots(onRoom: () => void): ReceiveSlots {
  const slots: Uint8Array[] = []
  const filled: number[] = []
  // Counted up for ever; a slot's place is its number modulo SLOT_COUNT.
  let writing = 0
  let reading = 0
  let taken = 0
  let isResting = false

  const slot = (number: number) => {
    const place = number % SLOT_COUNT
    slots[place] ??= Buffer.allocUnsafeSlow(SLOT_SIZE)
    return slots[place]
  }
  const filledOf = (number: number) => filled[number % SLOT_COUNT] ?? 0
  let region = slot(0)

  return {
    region: () => region,
    append(start, end) {
      const memory = slot(writing)
      const into = filledOf(writing)
      const from = region.byteOffset - memory.byteOffset
      if (from + start !== into) memory.copyWithin(into, from + start, from + end)
      filled[writing % SLOT_COUNT] = into + end - start
    },
    settle() {
      if (SLOT_SIZE - filledOf(writing) < MIN_READ) {
        writing++
        assert(writing - reading < SLOT_COUNT, 'a resting socket went on reading')
        filled[writing % SLOT_COUNT] = 0
      }
      region = slot(writing).subarray(filledOf(writing))
      isResting = writing - reading >= REST_AHEAD
    },
    get shouldRest() {
      return isResting
    },
    take() {
      if (taken === filledOf(reading) && reading < writing) {
        reading++
        taken = 0
        if (isResting && writing - reading < REST_AHEAD) {
          isResting = false
          onRoom()
        }
      }
      const end = filledOf(reading)
      if (taken === end) return undefined
      const bytes = slot(reading).subarray(taken, end)
      taken = end
      return bytes
    },
    get isEmpty() {
      return taken === filledOf(reading) && reading === writing
    },
  }
}
