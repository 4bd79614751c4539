import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import {
  type Behaviour,
  type Certificate,
  dripping,
  endless,
  type FileOptions,
  file,
  head,
  raw,
  redirect,
  silent,
  startWebServer,
  status,
} from './web-server.ts'

/** What an odd server has to serve, and where it breaks off. */
export interface Served {
  readonly content: Buffer
  readonly etag: string
  /** Bytes of a body after which it breaks off, where it is to; drawn anew for each connection. */
  readonly cut: () => number
}

const PAGE = '<html><head><title>Sign in</title></head><body>Please sign in.</body></html>'
const DATES = ['Mon, 06 Jan 2025 10:00:00 GMT', 'Tue, 07 Jan 2025 10:00:00 GMT'] as const

const chunk = (bytes: Uint8Array) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
const last = '0\r\n\r\n'

/** One answer to plain requests, another to those for a range. */
const onRange =
  (plain: Behaviour, ranged: (start: number) => Behaviour): Behaviour =>
  (request, socket) => {
    const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
    const behaviour = start === undefined ? plain : ranged(Number(start))
    behaviour(request, socket)
  }

/** Breaks off, and answers the resume with a 206 of these bytes, described as `describe` says. */
function resumed(
  { content, etag, cut }: Served,
  describe: (start: number) => {
    readonly from?: number
    readonly range?: string
    readonly headers?: Readonly<Record<string, string>>
  },
): Behaviour {
  return onRange(file(content, { etag, endAfter: cut() }), (start) => {
    const { from = start, range, headers } = describe(start)
    const body = content.subarray(from)
    const fields = {
      etag,
      'content-length': body.length,
      'content-range': range ?? `bytes ${from}-${content.length - 1}/${content.length}`,
      ...headers,
    }
    return raw(head(206, fields), body)
  })
}

/** Fills the connection as fast as it is taken, for ever. */
const flood =
  (begin: string, more: string): Behaviour =>
  (_request, socket) => {
    const bytes = Buffer.from(more.repeat(Math.ceil(65_536 / more.length)))
    const fill = () => {
      while (!socket.destroyed && socket.write(bytes));
    }
    socket.on('drain', fill)
    socket.write(begin)
    fill()
  }

const withFile =
  (options: (served: Served) => FileOptions) =>
  (served: Served): Behaviour =>
    file(served.content, { etag: served.etag, ...options(served) })

const always = (behaviour: Behaviour) => () => behaviour
const ok = (headers: Parameters<typeof head>[1] = {}) => head(200, headers)
const coded = (coding: string, encode: (bytes: Uint8Array) => Buffer) => (served: Served) =>
  raw(ok({ 'content-encoding': coding, etag: served.etag }), encode(served.content))
const asIs = (bytes: Uint8Array) => Buffer.from(bytes)

/**
 * Everything that a web server may do wrong, or in its own way, by name. What is asked for is always the same file:
 * `served.content`.
 */
export const ODD = {
  good: withFile(() => ({})),
  noValidator: ({ content }) => file(content),
  noRanges: withFile(() => ({ ranges: false })),
  noHead: (served) => (request, socket) =>
    (request.method === 'GET' ? file(served.content) : status(405))(request, socket),
  wrongType: withFile(() => ({ headers: { 'content-type': 'text/html; charset=utf-8' } })),

  noLength: ({ content }) => raw(ok(), content),
  http10: ({ content }) => raw('HTTP/1.0 200 OK\r\n\r\n', content),
  chunked: ({ content }) => raw(ok({ 'transfer-encoding': 'chunked' }), chunk(content), last),
  earlyHints: ({ content }) => raw('HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', ok(), content),
  lengthShort: ({ content }) => raw(ok({ 'content-length': content.length - 512 }), content),
  lengthLong: ({ content }) => raw(ok({ 'content-length': content.length + 1 }), content),
  lengthNegative: ({ content }) => raw(ok({ 'content-length': -1 }), content),
  lengthEnormous: ({ content }) => raw(ok({ 'content-length': '9999999999999999' }), content),
  lengthOverflow: ({ content }) => raw(ok({ 'content-length': '99999999999999999999999' }), content),
  lengthTwice: ({ content }) =>
    raw(`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\ncontent-length: 512\r\n\r\n`, content),
  lengthText: ({ content }) => raw(ok({ 'content-length': 'many' }), content),
  lengthEmpty: ({ content }) => raw(ok({ 'content-length': '' }), content),
  lengthAndChunked: ({ content }) =>
    raw(ok({ 'content-length': 3, 'transfer-encoding': 'chunked' }), chunk(content), last),
  chunkBroken: ({ content }) => raw(ok({ 'transfer-encoding': 'chunked' }), chunk(content), 'zz\r\n'),
  chunkCut: ({ content, cut }) =>
    raw(ok({ 'transfer-encoding': 'chunked' }), chunk(content).subarray(0, cut())),
  chunkEndless: always(endless),
  chunkExtension: always(flood(`${ok({ 'transfer-encoding': 'chunked' })}1;x=`, 'a')),
  trailerFlood: ({ content }) =>
    flood(
      `${ok({ 'transfer-encoding': 'chunked' })}${chunk(content.subarray(0, 512)).toString('latin1')}0\r\n`,
      'A: b\r\n',
    ),
  transferGzip: always(raw(ok({ 'transfer-encoding': 'gzip, chunked' }), last)),

  codedGzip: coded('gzip', gzipSync),
  codedNot: coded('gzip', asIs),
  codedIdentity: coded('identity', asIs),
  codedBrotli: coded('br', brotliCompressSync),
  codedDeflate: coded('deflate', deflateSync),
  codedTwice: coded('gzip, BR', (bytes) => brotliCompressSync(gzipSync(bytes))),

  drop: withFile(({ cut }) => ({ dropAfter: cut() })),
  end: withFile(({ cut }) => ({ endAfter: cut() })),
  stallInBody: withFile(({ cut }) => ({ stopAfter: cut() })),
  dropNoValidator: ({ content, cut }) => file(content, { endAfter: cut() }),
  dropOldDate: ({ content, cut }) => file(content, { lastModified: DATES[0], endAfter: cut() }),
  goodOldDate: ({ content }) => file(content, { lastModified: DATES[0] }),
  goodNewDate: ({ content }) => file(content, { lastModified: DATES[1] }),
  stallNoValidator: ({ content, cut }) => file(content, { stopAfter: cut() }),
  cutNoLength: ({ content, cut }) => raw(ok(), content.subarray(0, cut())),
  reset: always((_request, socket) => socket.resetAndDestroy()),
  closeAtOnce: always(raw()),
  closeAfterHead: ({ content, etag }) => raw(ok({ etag, 'content-length': content.length })),
  closeAfterBareHead: always(raw('HTTP/1.0 200 OK\r\n\r\n')),
  closeInHead: always(raw('HTTP/1.1 200 OK\r\nContent-Le')),

  resumeIgnored: (served) =>
    onRange(withFile(({ cut }) => ({ endAfter: cut() }))(served), () => raw(ok(), served.content)),
  resumeRefused: (served) =>
    onRange(withFile(({ cut }) => ({ endAfter: cut() }))(served), () =>
      status(416, { 'content-range': `bytes */${served.content.length}` }),
    ),
  resumeForbidden: (served) =>
    onRange(withFile(({ cut }) => ({ endAfter: cut() }))(served), () => status(403)),
  resumeWhole: (served) => resumed(served, () => ({ from: 0 })),
  resumeEarlier: (served) => resumed(served, (start) => ({ from: Math.max(0, start - 1) })),
  resumeLater: (served) => resumed(served, (start) => ({ from: start + 1 })),
  resumeLies: (served) =>
    resumed(served, (start) => ({
      from: 0,
      range: `bytes ${start}-${served.content.length - 1}/${served.content.length}`,
    })),
  resumeOtherTotal: (served) =>
    resumed(served, (start) => ({
      range: `bytes ${start}-${served.content.length - 1}/${served.content.length + 512}`,
    })),
  resumeNoRange: (served) => resumed(served, () => ({ range: '' })),
  resumeOtherEtag: (served) => resumed(served, () => ({ headers: { etag: '"another"' } })),
  resumeCoded: (served) => resumed(served, () => ({ headers: { 'content-encoding': 'gzip' } })),
  resumeMultipart: (served) =>
    resumed(served, () => ({ range: '', headers: { 'content-type': 'multipart/byteranges; boundary=x' } })),

  stallBeforeHead: always(silent),
  stallInHead: always((_request, socket) => socket.write('HTTP/1.1 200 OK\r\nContent-')),
  dripHead: always(dripping('HTTP/1.1 200 OK\r\nX: ', 'a', 20)),
  dripBody: ({ etag }) => dripping(ok({ etag, 'content-length': 1 << 20 }), 'a', 20),
  hintsForEver: always(flood('', 'HTTP/1.1 103 Early\r\n\r\n')),

  headHuge: always(raw(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(4 << 20)}\r\n\r\n`)),
  headMany: always(raw('HTTP/1.1 200 OK\r\n', 'X: a\r\n'.repeat(9000), '\r\n')),
  headEndless: always(flood('HTTP/1.1 200 OK\r\n', 'X-Filler: aaaaaaaaaaaaaaaa\r\n')),
  headNul: always(raw('HTTP/1.1 200 OK\r\nX: a\u0000b\r\n\r\n')),
  ssh: always(raw('SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n')),
  ftp: always(raw('220 ready\r\n')),
  http09: ({ content }) => raw(content),
  http2: always(raw(Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]))),
  tlsAlert: always(raw(Buffer.from([21, 3, 1, 0, 2, 2, 40]))),
  upgrade: always(raw(head(101, { upgrade: 'websocket', connection: 'upgrade' }))),

  page: always(raw(ok(), PAGE.padEnd(4096))),
  pageNoHtml: always(raw(ok(), '<HEAD><TITLE>Error</TITLE></HEAD>\n<BODY>no such file</BODY>'.padEnd(4096))),
  pageComment: always(raw(ok(), '<!-- build 7 -->\n<body>Sign in</body>'.padEnd(4096))),
  pageXml: always(raw(ok(), '<Error><Code>NoSuchKey</Code></Error>'.padEnd(4096))),
  json: always(raw(ok(), '{"message": "not found"}'.padEnd(4096))),
  jsonList: always(raw(ok(), '[{"message": "not found"}]'.padEnd(4096))),
  shortText: always(raw(ok(), 'not found\n')),
  empty: always(status(200)),

  loop: always((request, socket) => redirect(request.path)(request, socket)),
  redirectNowhere: always(status(302)),
} satisfies Record<string, (served: Served) => Behaviour>

export type Odd = keyof typeof ODD

/** A behaviour by its name, or of one's own. */
export type Step = Odd | Behaviour

/** A web server that misbehaves on command, on loopback. */
export interface OddServer extends AsyncDisposable {
  readonly port: number
  /** A new address, which does one thing after another, a request each; the last one stays. */
  url(...script: readonly [Step, ...Step[]]): string
  /** How many requests came for an address. */
  asked(url: string): number
  /** Connections that are open now. */
  open(): number
}

/** @param served the file behind all addresses */
export async function startOddServer(
  served: Served,
  options: { readonly host?: string; readonly tls?: Certificate } = {},
): Promise<OddServer> {
  const server = await startWebServer(options)
  const turns = new Map<string, number>()
  let open = 0
  return {
    port: server.port,
    url(...script) {
      const path = `/${turns.size}/disk.img`
      turns.set(path, 0)
      server.on(path, (request, socket) => {
        open++
        socket.once('close', () => open--)
        const turn = turns.get(path) ?? 0
        turns.set(path, turn + 1)
        const step = script[Math.min(turn, script.length - 1)] ?? script[0]
        const behaviour = typeof step === 'function' ? step : ODD[step](served)
        behaviour(request, socket)
      })
      return server.url(path)
    },
    asked: (url) => turns.get(new URL(url).pathname) ?? 0,
    open: () => open,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
