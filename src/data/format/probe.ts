import { KiB } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import { containersAt, containersAtEnd } from './probe-magics.ts'
import { describeText } from './probe-text.ts'
import { emptyImage } from './stream-refusals.ts'

/** How much of the start is looked at: this much, or all of a shorter file. */
export const HEAD_SIZE = 64 * KiB
/** How much of the end is looked at: signatures stand at its start. */
export const TAIL_SIZE = 512

const SECTOR = 512

export type Container =
  | { readonly format: 'qcow2' }
  | { readonly format: 'raw'; readonly notes: readonly string[] }

/**
 * Tells what the bytes are once no compression is around them: by content alone, all signatures looked at before one
 * is believed. Call it again with the tail where the end came later.
 * @param head the first HEAD_SIZE bytes, or all of a shorter file
 * @param tail the last TAIL_SIZE bytes, once they are known
 * @throws Refusal: empty, not-an-image, unsupported-format, unsupported-version, polyglot, truncated
 * @see docs/guides/recognising-images.md
 */
export function recogniseContainer(head: Uint8Array, tail?: Uint8Array): Container {
  if (head.length === 0) throw emptyImage()
  const found = new Set([...containersAt(head), ...(tail ? containersAtEnd(tail) : [])])
  const [first, second] = found
  if (first !== undefined && second !== undefined) {
    throw new Refusal('polyglot', `The file is ${first} and ${second} at the same time.`)
  }
  if (first === 'qcow2') return recogniseQcow(head)
  if (first !== undefined) throw unsupported(first)
  const text = describeText(head)
  if (text !== undefined) {
    throw new Refusal('not-an-image', `This is not a disk image (looks like ${text}). Check the URL.`)
  }
  if (head.length < SECTOR) {
    throw new Refusal('not-an-image', `This is not a disk image (only ${head.length} bytes). Check the URL.`)
  }
  return { format: 'raw', notes: describeRaw(head) }
}

/**
 * Refuses a virtual disk that is an image itself: a double conversion, or bait for a reader that probes again.
 * @param head the first HEAD_SIZE bytes of the virtual disk, or all of a smaller one
 * @throws nested
 */
export function refuseNested(head: Uint8Array): void {
  const [inner] = containersAt(head)
  if (inner === undefined) return
  throw new Refusal('nested', `The image holds another image (${inner}); only one layer is allowed.`, {
    hint: 'Register the image inside instead.',
  })
}

function recogniseQcow(head: Uint8Array): Container {
  if (head.length < 8) {
    throw new Refusal(
      'truncated',
      `The file ends too early (${head.length} bytes). Is the download complete?`,
    )
  }
  const version = new DataView(head.buffer, head.byteOffset).getUint32(4)
  if (version === 2 || version === 3) return { format: 'qcow2' }
  throw new Refusal('unsupported-version', `qcow version ${version} is not supported, only 2 and 3.`, {
    hint: 'Convert it first: qemu-img convert -O qcow2.',
  })
}

function unsupported(format: string): Refusal {
  const hint = format.startsWith('LUKS')
    ? 'Decrypt the disk first; encryption inside the server is not affected by this.'
    : 'Convert or unpack it first, for example with: qemu-img convert -O qcow2.'
  return new Refusal('unsupported-format', `${format} images are not supported.`, { hint })
}

/** What a raw disk looks like, one sentence each, for the user to know. */
export function describeRaw(head: Uint8Array): string[] {
  const notes: string[] = []
  const has = (offset: number, text: string) =>
    head.length >= offset + text.length &&
    [...text].every((letter, index) => head[offset + index] === letter.charCodeAt(0))
  if (has(0x8001, 'CD001')) notes.push('The disk looks like an ISO 9660 image.')
  if (has(0x8801, 'NSR02') || has(0x8801, 'NSR03')) notes.push('The disk looks like a UDF image.')
  if (has(510, '\x55\xaa')) {
    const gpt = has(512, 'EFI PART') || has(4096, 'EFI PART')
    notes.push(`The disk has a partition table (${gpt ? 'GPT' : 'MBR'}).`)
  }
  return notes
}
