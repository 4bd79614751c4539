import { LibraryError } from '#base/errors.ts'

const MAX_URL_LENGTH = 2048

/**
 * Ports at and above 1024 that speak something else than HTTP and could take a request for orders: the browsers' list
 * of bad ports, databases, caches, and container and cluster daemons.
 */
const REFUSED_PORTS: ReadonlySet<number> = new Set([
  1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432,
  5672, 5900, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9300, 10080, 10250,
  11211, 27017,
])

/**
 * Reads the address of a source as a user, or a redirect, gives it. The fragment is dropped.
 * @throws invalid, naming the rule that is broken; no I/O happens
 */
export function parseSourceUrl(text: string): URL {
  if (text.length > MAX_URL_LENGTH) throw invalid(`is longer than ${MAX_URL_LENGTH} characters`)
  // URL drops tabs and line ends without a word, so look before it does.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) throw invalid('holds a control character')
  if (!/^https?:\/\//i.test(text.trimStart())) {
    throw invalid(
      'does not begin with http:// or https://',
      'Give the address of the image file on a web server.',
    )
  }
  if (!URL.canParse(text)) throw invalid('cannot be read')
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') {
    throw invalid('holds a user name or a password', 'Use a signed or a public address instead.')
  }
  if (!isAllowedPort(url)) {
    throw invalid(
      `names port ${url.port}, which is not allowed`,
      'Use port 80, 443, or a web port from 1024 on.',
    )
  }
  url.hash = ''
  return url
}

function isAllowedPort(url: URL): boolean {
  if (url.port === '') return true
  const port = Number(url.port)
  return port === 80 || port === 443 || (port >= 1024 && !REFUSED_PORTS.has(port))
}

function invalid(rule: string, hint?: string): LibraryError {
  return new LibraryError('invalid', `source URL ${rule}`, hint === undefined ? {} : { hint })
}

const MASK = '***'

/**
 * The address as it may be stored and shown: without user and password, and with the values of the query and of the
 * path's parameters (`;name=value`, RFC 3986 §3.3) masked, for they may be signatures.
 */
export function redactUrl(url: string | URL): string {
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  shown.hash = ''
  shown.pathname = shown.pathname.replace(/((?:;|%3b)[^;=/]*?(?:=|%3d))[^;/]*/gi, `$1${MASK}`)
  const query = shown.search.slice(1)
  shown.search = query === '' ? '' : query.split('&').map(maskParameter).join('&')
  return shown.href
}

/** Keeps the name; what stands alone may itself be a secret, with or without the padding of base64. */
function maskParameter(parameter: string): string {
  const [, name] = /^([^=]+)=+[^=]/.exec(parameter) ?? []
  return name === undefined ? MASK : `${name}=${MASK}`
}
