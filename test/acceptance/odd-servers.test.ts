import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS, type ImportLimits } from '#base/limits.ts'
import { startDaemon } from '../support/daemon.ts'
import { openImports } from '../support/imports.ts'
import { ODD, type Odd, type OddServer, type Step, startOddServer } from '../support/odd-server.ts'
import {
  assertFails,
  assertNothingLeft,
  download,
  forEach,
  register,
  settled,
  sha256Of,
} from '../support/registration.ts'
import { needs } from '../support/tools.ts'
import { type Behaviour, makeCertificate, redirect, status } from '../support/web-server.ts'

const LIMITS: ImportLimits = { ...DEFAULT_LIMITS, sourceSize: 8 * MiB, virtualSize: 8 * MiB, resumes: 3 }
/** For servers that keep one waiting: their faults show within a second. */
const IMPATIENT: ImportLimits = { ...LIMITS, headersMs: 900 }
const RESTLESS: ImportLimits = { ...LIMITS, silenceMs: 400, slowWindowMs: 1500 }
/** How often a passing fault is tried. */
const ATTEMPTS = 5

/** No whole number of blocks, and no multiple of what is cut off. */
const content = Buffer.alloc(700 * 512)
content.fill('image', 5000, 300_000)
const sha256 = createHash('sha256').update(content).digest('hex')
const served = { content, etag: '"version-1"', cut: () => 100_000 }

interface Failed {
  readonly code: string
  readonly says: RegExp
  /** What the person is to do next. */
  readonly next: RegExp
  /** Each attempt ends like this; true for passing faults. */
  readonly passing?: boolean
}

/** What becomes of a registration, and after how many requests. */
type Row = readonly [
  script: readonly [Step, ...Step[]],
  asked: number,
  outcome: Failed | 'identical' | 'shorter',
]

const failed = (code: string, says: RegExp, next: RegExp): Failed => ({ code, says, next })
const notHttp = failed('source', /answer is not valid HTTP/, /leads to a web server.* or use a mirror/)
const noWayOn = failed(
  'source',
  /lost after \d+ bytes, and the server gives no way to go on/,
  /mirror that sends an ETag/,
)
const fromStart = failed('source', /lost and the server .* read again from the start/, /another mirror/)
const changed = failed('source', /file has changed during the download/, /Wait until nobody changes the file/)
const tooLate = failed('source', /did not answer within 0\.9 seconds/, /try again later/)
const noAnswer = failed('source', /closed the connection without an answer/, /try again later/)
const longHead = failed('source', /headers are longer than 16384 bytes/, /Check the URL/)
const hidden = failed('source', /compressed its answer \(Content-Encoding\)/, /another mirror/)
const noImage = (what: string) =>
  failed('not-an-image', new RegExp(`looks like ${what}`), /Open the URL in a browser/)
const forbidden = failed(
  'source',
  /address is not allowed \(private, local or reserved\)/,
  /public address; the operator/,
)
const brokenRule = failed('source', /a redirect breaks a rule/, /Use the final URL/)

type Named = Readonly<Partial<Record<Odd, readonly [asked: number, outcome: Row[2]]>>>

/** One row for each way to misbehave; what passes is asked for again, what does not is asked for once. */
const AT_ONCE: Named = {
  good: [1, 'identical'],
  noHead: [1, 'identical'],
  noValidator: [1, 'identical'],
  noRanges: [1, 'identical'],
  wrongType: [1, 'identical'],

  noLength: [1, 'identical'],
  http10: [1, 'identical'],
  chunked: [1, 'identical'],
  earlyHints: [1, 'identical'],
  // What a server says is the file is the file; a format with an end of its own would be `truncated`.
  lengthShort: [1, 'shorter'],
  lengthLong: [ATTEMPTS, noWayOn],
  lengthNegative: [1, notHttp],
  lengthEnormous: [
    1,
    failed('too-large', /10000000000000000 bytes, more than the limit/, /ask the operator/),
  ],
  lengthOverflow: [1, notHttp],
  lengthTwice: [1, notHttp],
  lengthText: [1, notHttp],
  lengthEmpty: [1, notHttp],
  lengthAndChunked: [1, notHttp],
  chunkBroken: [ATTEMPTS, noWayOn],
  chunkCut: [ATTEMPTS, noWayOn],
  chunkEndless: [1, failed('too-large', /more than the limit of 8388608/, /ask the operator/)],
  trailerFlood: [ATTEMPTS, noWayOn],
  transferGzip: [1, notHttp],

  codedGzip: [1, 'identical'],
  codedNot: [1, 'identical'],
  codedIdentity: [1, 'identical'],
  codedBrotli: [1, hidden],
  codedDeflate: [1, hidden],
  codedTwice: [1, hidden],

  drop: [4, 'identical'],
  end: [4, 'identical'],
  dropOldDate: [4, 'identical'],
  goodOldDate: [1, 'identical'],
  goodNewDate: [1, 'identical'],
  dropNoValidator: [ATTEMPTS, noWayOn],
  cutNoLength: [
    ATTEMPTS,
    failed('source', /ended within a sector, after 100000 bytes/, /sends a Content-Length/),
  ],
  reset: [ATTEMPTS, noAnswer],
  closeAtOnce: [ATTEMPTS, noAnswer],
  closeInHead: [ATTEMPTS, noAnswer],
  closeAfterBareHead: [ATTEMPTS, failed('source', /before the first byte of the file/, /try again later/)],
  closeAfterHead: [
    ATTEMPTS,
    failed('source', /lost for good after 0 of 358400 bytes\. It was tried 5 times\.$/, /try again later/),
  ],
  resumeIgnored: [2 * ATTEMPTS, fromStart],
  resumeRefused: [2 * ATTEMPTS, fromStart],
  resumeForbidden: [2, failed('source', /HTTP status 403/, /a signed one that lasts/)],
  resumeWhole: [2 * ATTEMPTS, fromStart],
  resumeEarlier: [2 * ATTEMPTS, fromStart],
  resumeLater: [2 * ATTEMPTS, fromStart],
  resumeLies: [2 * ATTEMPTS, fromStart],
  resumeNoRange: [2 * ATTEMPTS, fromStart],
  resumeMultipart: [2 * ATTEMPTS, fromStart],
  resumeOtherTotal: [2 * ATTEMPTS, changed],
  resumeOtherEtag: [2 * ATTEMPTS, changed],
  resumeCoded: [2 * ATTEMPTS, changed],

  headHuge: [1, longHead],
  headMany: [1, longHead],
  headEndless: [1, longHead],
  headNul: [1, notHttp],
  ssh: [1, notHttp],
  ftp: [1, notHttp],
  http09: [1, notHttp],
  http2: [1, notHttp],
  tlsAlert: [1, notHttp],
  upgrade: [1, notHttp],

  page: [1, noImage('a web page')],
  pageNoHtml: [1, noImage('a web page')],
  pageComment: [1, noImage('a web page')],
  pageXml: [1, noImage('a web page')],
  json: [1, noImage('JSON')],
  jsonList: [1, noImage('JSON')],
  shortText: [1, noImage('a short text')],
  empty: [1, failed('empty', /image is empty/, /Check the URL/)],

  loop: [6, failed('source', /more than 5 redirects/, /URL that the redirects lead to/)],
  redirectNowhere: [1, failed('source', /does not say where to/, /Use the final URL/)],
}

const SLOWLY: Named = {
  stallInBody: [4, 'identical'],
  stallNoValidator: [
    ATTEMPTS,
    failed('source', /fell silent after 100000 bytes/, /mirror that sends an ETag/),
  ],
  dripBody: [
    ATTEMPTS,
    failed('source', /less than 65536 bytes a second arrived over 1\.5 seconds/, /faster server/),
  ],
}

const WITHOUT_A_WORD: Named = {
  stallBeforeHead: [ATTEMPTS, tooLate],
  stallInHead: [ATTEMPTS, tooLate],
  dripHead: [ATTEMPTS, tooLate],
}

/** They keep the network busy, so each is tried alone. */
const FLOODS: Named = {
  chunkExtension: [
    ATTEMPTS,
    failed('source', /fell silent after 0 bytes|arrived over 1\.5 s/, /mirror|faster/),
  ],
  hintsForEver: [ATTEMPTS, tooLate],
}

const slowly =
  (behaviour: Behaviour): Behaviour =>
  (request, socket) =>
    void setTimeout(() => behaviour(request, socket), 150)

/** Serves only whoever brings nothing along from another host. */
const onlyBare: Behaviour = (request, socket) => {
  const carried = ['authorization', 'cookie', 'referer', 'proxy-authorization'].filter(
    (name) => name in request.headers,
  )
  const behaviour = carried.length > 0 ? status(400) : status(200, {}, content.toString('latin1'))
  behaviour(request, socket)
}

const SLOW_REDIRECTS: readonly Row[] = [
  [[slowly(redirect('?1')), slowly(redirect('?2')), slowly(redirect('?3')), 'good'], 4, 'identical'],
  [[redirect('?1'), 'stallBeforeHead', redirect('?2'), 'good'], 4, 'identical'],
]

const SPECIAL: readonly Row[] = [
  [['end', 'resumeRefused', 'good'], 3, 'identical'],
  [['resumeIgnored', 'resumeIgnored', 'good'], 3, 'identical'],
  [['dropOldDate', 'goodNewDate', 'goodNewDate'], 3, 'identical'],
  [['drop', 'reset', 'stallBeforeHead', status(503), 'good'], 5, 'identical'],
  [['drop', status(404)], 2, failed('source', /HTTP status 404/, /nothing at this URL/)],

  ...[400, 406, 407, 451, 501, 505, 201, 204, 206, 300, 304].map(
    (code): Row => [
      [status(code)],
      1,
      failed('source', new RegExp(`HTTP status ${code}\\.`), /Check the URL/),
    ],
  ),
  ...[401, 403].map(
    (code): Row => [[status(code)], 1, failed('source', /HTTP status 40[13]/, /wants a login/)],
  ),
  ...[404, 410].map((code): Row => [[status(code)], 1, failed('source', /status 4/, /nothing at this URL/)]),
  ...[408, 425, 429, 500, 502, 503, 504, 507].map(
    (code): Row => [
      [status(code)],
      ATTEMPTS,
      failed('source', new RegExp(`HTTP status ${code}\\.`), /try again later/),
    ],
  ),
  ...[
    '0',
    '3',
    '99999999999999999999',
    '-7',
    'soon',
    'Tue, 06 Jan 2125 10:00:00 GMT',
    'Mon, 06 Jan 1925 10:00:00 GMT',
  ].map(
    (asked): Row => [
      [status(503, { 'retry-after': asked }), status(429, { 'retry-after': asked }), 'good'],
      3,
      'identical',
    ],
  ),

  [[redirect('disk.img?signed=1'), 'good'], 2, 'identical'],
  [
    [redirect('?signed=1', 307), redirect('./disk.img', 308), redirect('disk.img#part', 303), 'good'],
    4,
    'identical',
  ],
  [[status(302, { location: '?1', 'set-cookie': 'key=secret' }), onlyBare], 2, 'identical'],
  ...[
    'file:///etc/passwd',
    'ftp://127.0.0.1/',
    'gopher://127.0.0.1/',
    'data:text/plain,x',
    'http://user:pw@127.0.0.1/',
  ].map((target): Row => [[redirect(target)], 1, brokenRule]),
  [[redirect('http://127.0.0.1:22/')], 1, brokenRule],
  [[redirect(`http://127.0.0.1/${'a'.repeat(3000)}`)], 1, brokenRule],
  [[redirect('http://[')], 1, failed('source', /leads to a URL that cannot be read/, /Use the final URL/)],
  ...[
    '127.0.0.2 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 168.63.129.16 0.0.0.0 255.255.255.255',
    // 10.0.0.1 and 169.254.169.254 in decimal, hexadecimal, octal, short and full-width.
    '167772161 0x0a000001 0xa.1 012.0.0.1 10.1 2852039166 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 １０.０.０.１ 10.0.0.1.',
    '[::1] [::] [::ffff:10.0.0.1] [::ffff:a9fe:a9fe] [0:0:0:0:0:ffff:0a00:0001] [64:ff9b::a00:1] [2002:a00:1::]',
    '[fe80::1] [fd00:ec2::254] [fec0::1] [ff02::1] [::10.0.0.1]',
  ]
    .flatMap((line) => line.split(' '))
    .map((host): Row => [[redirect(`http://${host}/latest/meta-data/`)], 1, forbidden]),
]

/** Registers every row, lets all come to their end, and compares. */
async function tryRows(
  rows: readonly Row[],
  { server, limits = LIMITS, atOnce = 8 }: { server: OddServer; limits?: ImportLimits; atOnce?: number },
): Promise<void> {
  await using imports = await openImports(limits, atOnce)
  const tried: { name: string; row: Row; url: string; id: string }[] = []
  for (const row of rows) {
    const name = row[0]
      .map((step) => (typeof step === 'string' ? step : step.name || 'answer'))
      .join(', then ')
    const url = server.url(...row[0])
    tried.push({ name: `${tried.length}: ${name}`, row, url, id: await imports.register(url) })
  }
  await imports.settle()
  const wrong: string[] = []
  for (const { name, row, url, id } of tried) {
    const [, asked, outcome] = row
    const image = await imports.show(id)
    const { code = '', message = '', hint = '' } = image.failure ?? {}
    const said = image.status === 'available' ? await imports.digest(image) : `${code}: ${message} | ${hint}`
    const isRight =
      outcome === 'identical'
        ? said === sha256
        : outcome === 'shorter'
          ? image.status === 'available' && image.virtualSize === content.length - 512
          : image.status === 'failed' &&
            code === outcome.code &&
            outcome.says.test(message) &&
            outcome.next.test(hint)
    if (!isRight || server.asked(url) !== asked) wrong.push(`${name}: asked ${server.asked(url)}, ${said}`)
  }
  assert.deepEqual(wrong, [])
  // That we have closed one is heard there a moment later.
  for (const deadline = Date.now() + 10_000; server.open() > 0 && Date.now() < deadline; ) await delay(10)
  assert.equal(server.open(), 0, 'connections left open')
  await imports.assertNothingLeft()
}

const byName = (named: Named) =>
  Object.entries(named).map(([name, [asked, outcome]]): Row => [[name as Odd], asked, outcome])

test('odd servers: every way to misbehave is tried', () => {
  const tried = new Set([AT_ONCE, SLOWLY, WITHOUT_A_WORD, FLOODS].flatMap((named) => Object.keys(named)))
  assert.deepEqual(
    Object.keys(ODD).filter((name) => !tried.has(name)),
    [],
  )
})

test('odd servers: each has its outcome, its number of requests and its words, and leaves nothing', async () => {
  await using server = await startOddServer(served)
  await tryRows([...byName(AT_ONCE), ...SPECIAL], { server })
})

test('odd servers: those that keep one waiting are given up, or taken up where they fell silent', async () => {
  await using server = await startOddServer(served)
  await tryRows(byName(SLOWLY), { server, limits: RESTLESS })
  await tryRows([...byName(WITHOUT_A_WORD), ...SLOW_REDIRECTS], { server, limits: IMPATIENT })
  await tryRows(byName(FLOODS), { server, limits: { ...RESTLESS, headersMs: 900 }, atOnce: 1 })
})

test('odd servers: what passes is over at the second attempt', async () => {
  await using server = await startOddServer(served)
  const rows = byName(AT_ONCE).flatMap(([[name], asked, outcome]): Row[] => {
    if (typeof outcome === 'string' || asked % ATTEMPTS !== 0) return []
    // What one attempt asks for; a resume that is refused is a request of its own.
    const requests = asked / ATTEMPTS
    return [[[name, ...Array<Step>(requests - 1).fill(name), 'good'], requests + 1, 'identical']]
  })
  assert.ok(rows.length > 10)
  await tryRows(rows, { server })
})

test('odd servers: a certificate that is none is told at once', needs('openssl'), async () => {
  const names = 'DNS:images.test,IP:127.0.0.1'
  const expired = makeCertificate(names, '20200101000000Z')
  const other = makeCertificate('DNS:elsewhere.test')
  const certificates = [
    [makeCertificate(names), /certificate is self-signed/],
    [expired, /certificate has expired/],
    [other, /certificate is for another host name/],
  ] as const
  const trusted = getCACertificates('default')
  setDefaultCACertificates([...trusted, expired.cert, other.cert])
  try {
    for (const [tls, says] of certificates) {
      await using server = await startOddServer(served, { tls })
      await tryRows([[['good'], 0, failed('source', says, /mend its certificate, or use another mirror/)]], {
        server,
      })
    }
  } finally {
    setDefaultCACertificates(trusted)
  }
})

test('odd servers: an address that no person should give is refused before there is an image', async () => {
  await using imports = await openImports(LIMITS)
  const addresses = {
    'http://user:secret@images.test/disk.img': /user name or a password/,
    'file:///etc/passwd': /does not begin with http/,
    'http://images.test:22/': /names port 22/,
  }
  for (const [url, message] of Object.entries(addresses)) {
    await assert.rejects(imports.register(url), { code: 'invalid', message })
  }
})

test('odd servers: none makes the daemon large, slow or full', needs('find'), async () => {
  await using daemon = await startDaemon({
    settings: {
      'limits.source_size': '8MiB',
      'limits.headers_time': '1s',
      'limits.silence_time': '1s',
      'limits.slow_window': '3s',
      'limits.resumes': '3',
      'registrations.concurrent': '3',
    },
  })
  const memory = async (field: string) =>
    Number(
      new RegExp(`${field}:\\s+(\\d+)`).exec(
        await readFile(`/proc/${daemon.process.pid}/status`, 'utf8'),
      )?.[1],
    ) * 1024
  await using server = await startOddServer(served)
  await writeFile(`/proc/${daemon.process.pid}/clear_refs`, '5')
  const before = await memory('VmRSS')
  const outcomes: readonly [Odd, string][] = [
    ['headEndless', 'source'],
    ['headHuge', 'source'],
    ['chunkEndless', 'too-large'],
    ['lengthEnormous', 'too-large'],
    ['ssh', 'source'],
    ['codedBrotli', 'source'],
    ['page', 'not-an-image'],
    ['loop', 'source'],
  ]
  await forEach(outcomes, 2, async ([name, code]) => {
    await assertFails(daemon, server.url(name), { codes: [code], limitMs: 20_000 })
  })
  // Passing faults: the daemon says what it waits for, and a person may still put an end to it.
  const flood = await register(daemon, server.url('chunkExtension'))
  const mended = await register(daemon, server.url('end', 'reset', 'good'))
  const image = await settled(daemon, mended.id, 30_000)
  assert.equal(image.status, 'available', daemon.output())
  assert.equal(await sha256Of(await download(daemon, mended.id, 'raw')), sha256)
  for (const id of [flood.id, mended.id]) {
    assert.equal((await daemon.api('DELETE', `/1.0/images/${id}`)).status, 202)
    while ((await daemon.api('GET', `/1.0/images/${id}`)).status !== 404) await delay(20)
  }
  const used = (await memory('VmHWM')) - before
  assert.ok(used < 300 * MiB, `took ${Math.round(used / MiB)} MiB`)
  assert.deepEqual(await readdir(join(daemon.data, 'spool')), [])
  await assertNothingLeft(daemon, daemon.settings)
})
