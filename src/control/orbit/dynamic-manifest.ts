import { OrbitRefusal } from './orbit.ts'

/**
 * Reads the value of an X-Object-Manifest header, one character a byte, percent-encoded as it came.
 * @throws invalid in Swift's words
 */
export function parseDynamicManifest(value: string): { readonly container: string; readonly prefix: string } {
  const text = decodeName(value)
  const slash = text.indexOf('/')
  const [container, prefix] = [text.slice(0, slash), text.slice(slash + 1)]
  if (slash < 1 || prefix === '' || prefix.startsWith('/') || /[?&]/.test(value)) {
    throw new OrbitRefusal('invalid', 'X-Object-Manifest must be in the format container/prefix')
  }
  return { container, prefix }
}

/** A name in a header's value: percent-encoded UTF-8, one character a byte. What is no escape stands for itself. */
function decodeName(value: string): string {
  const bytes = value.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
