const SAMPLE_SIZE = 512
const MARKUP: ReadonlyArray<readonly [string, string]> = [
  ['<!doctype', 'a web page'],
  ['<html', 'a web page'],
  ['<?xml', 'XML'],
]

/**
 * Says what kind of text stands where an image was expected: an error page, an object store's answer.
 * @returns our words for it, undefined where it may be a disk
 */
export function describeText(head: Uint8Array): string | undefined {
  const text = sampleOf(head).trimStart().toLowerCase()
  for (const [start, name] of MARKUP) if (text.startsWith(start)) return name
  const onlyText = isText(head.subarray(0, SAMPLE_SIZE))
  if (/^[{[]/.test(text) && onlyText) return 'JSON'
  // Error pages of old servers and scripts begin with a comment, a heading or nothing but their own tags.
  if (/^<[a-z!?/]/.test(text) && onlyText) return 'a web page'
  return head.length < SAMPLE_SIZE && onlyText ? 'a short text' : undefined
}

function sampleOf(head: Uint8Array): string {
  // Pages may open with a long run of blank lines, so more than the sample is looked at for the first tag.
  const bytes = head.subarray(0, 8 * SAMPLE_SIZE)
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes)
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
  return Buffer.from(bytes.subarray(marked ? 3 : 0)).toString('latin1')
}

/** Printable ASCII, blanks, and bytes of other letters in UTF-8. */
function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => (byte >= 0x20 && byte !== 0x7f) || (byte >= 0x09 && byte <= 0x0d))
}
