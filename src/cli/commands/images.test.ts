import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerJson, fakeImage, problem, startFakeApi } from '../../../test/support/fake-api.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'
import { createProgram, readTree } from '../program.ts'

async function open(extra = 'default_account = acc-12345\n') {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url, extra))
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, cli, [Symbol.asyncDispose]: close }
}

const A = '?account_id=acc-12345'

const REGISTERED = `
 id         owner      type    created_on  status    size  arch    name       
-------------------------------------------------------------------------------
 img-8yeen  acc-12345  upload  2022-01-02  creating  0     x86_64  arch-latest
-------------------------------------------------------------------------------

`

test('images list: prints the table of the official client and asks for images, then the account', async () => {
  await using at = await open()
  at.api.images.set('img-mine1', fakeImage('img-mine1'))
  const snapshot = { source_type: 'snapshot', name: 'Nightly', created_at: '2020-05-01T00:00:00Z' }
  at.api.images.set('img-mysna', fakeImage('img-mysna', snapshot))
  at.api.images.set('img-other', fakeImage('img-other', { owner: 'acc-other', public: true }))
  const { out, err, code } = await at.cli.run('images', 'list')
  assert.equal(err, '')
  assert.equal(code, 0)
  assert.equal(
    out,
    `
 id         owner      type      created_on  status   size  arch    name     
------------------------------------------------------------------------------
 img-mine1  acc-12345  upload    2022-01-02  private  2252  x86_64  My upload
 img-mysna  acc-12345  snapshot  2020-05-01  private  2252  x86_64  Nightly  
------------------------------------------------------------------------------

`,
  )
  assert.deepEqual(at.api.lines, [`GET /1.0/images${A}`, `GET /1.0/account${A}&nested=false`])
})

test('images list: what an older client sent goes out in the headers that libraries expect', async () => {
  await using at = await open()
  await at.cli.run('images', 'list', '-a')
  assert.deepEqual(at.api.lines, [`GET /1.0/images${A}`])
  const [request] = at.api.requests
  assert.equal(request?.headers.authorization, 'Bearer fresh-token')
  assert.equal(request?.headers['content-type'], 'application/json')
})

test('images list: no image is an empty line', async () => {
  await using at = await open('')
  const { out, code } = await at.cli.run('images')
  assert.deepEqual([out, code], ['\n', 0])
  assert.deepEqual(at.api.lines, ['GET /1.0/images', 'GET /1.0/account?nested=false'])
})

test('images list: filters by shown status, type and account, and sorts as the official client', async () => {
  await using at = await open()
  const add = (id: string, changes: object) => at.api.images.set(id, fakeImage(id, { ...changes }))
  add('img-00001', { name: 'b' })
  add('img-00002', { name: 'a', created_at: '2022-01-01T00:00:00Z' })
  add('img-00003', { name: 'a', created_at: '2022-01-03T00:00:00Z' })
  add('img-00004', { name: 'z', official: true, public: true, owner: 'acc-brigh' })
  add('img-00005', { name: 'a', public: true })
  add('img-00006', { name: 'a', status: 'deprecated' })
  add('img-00007', { name: 'a', status: 'failed' })
  add('img-00008', { source_type: 'snapshot', created_at: '2021-01-01T00:00:00Z' })
  add('img-00009', { source_type: 'snapshot', created_at: '2020-01-01T00:00:00Z', arch: 'i686' })
  const ids = async (...args: string[]) => {
    const { out, err } = await at.cli.run('-s', 'images', 'list', ...args)
    assert.equal(err, '')
    return out
      .split('\n')
      .map((line) => line.split('\t')[0]?.slice(-1))
      .join('')
  }
  assert.equal(await ids(), '453267198')
  assert.equal(await ids('--status=private'), '32198')
  assert.equal(await ids('-s', 'public'), '45')
  assert.equal(await ids('-s', 'deprecated'), '6')
  assert.equal(await ids('-t', 'official'), '4')
  assert.equal(await ids('--type', 'snapshot'), '98')
  assert.equal(await ids('-l', 'brightbox'), '4')
  assert.equal(await ids('--account', 'acc-12345', '-t', 'snapshot'), '98')
})

test('images list: what a name is to begin with is asked of the library, and filters work on its answer', async () => {
  await using at = await open()
  at.api.images.set('img-mine1', fakeImage('img-mine1', { name: 'b & "c"' }))
  at.api.images.set('img-mine2', fakeImage('img-mine2', { name: 'a', status: 'failed' }))
  const { out, err } = await at.cli.run('-s', 'images', 'list', '--name', 'b & "', '-s', 'private')
  assert.deepEqual([out.split('\t')[0], err], ['img-mine1', ''])
  assert.equal(at.api.lines[0], `GET /1.0/images${A}&name=b+%26+%22`)
  const both = await at.cli.run('images', 'list', 'img-mine1', '--name', 'b')
  assert.deepEqual([both.err, both.code], ['ERROR: name cannot be given with ids\n', 1])
})

test('images list: ids are read one by one, and a missing one is a warning', async () => {
  await using at = await open()
  at.api.images.set('img-mine1', fakeImage('img-mine1'))
  const { out, err, code } = await at.cli.run('-s', 'images', 'img-gone1', 'img-mine1')
  assert.equal(err, 'Could not find anything with ID img-gone1\n')
  assert.equal(out, 'img-mine1\tacc-12345\tupload\t2022-01-02\tprivate\t2252\tx86_64\tMy upload\n')
  assert.equal(code, 0)
  assert.deepEqual(at.api.lines.slice(0, 2), [
    `GET /1.0/images/img-gone1${A}`,
    `GET /1.0/images/img-mine1${A}`,
  ])
})

test('images list: a status or type that does not exist is refused before anything is asked', async () => {
  await using at = await open()
  const status = await at.cli.run('images', 'list', '-s', 'broken')
  assert.match(status.err, /^ERROR: status must be one of public, private, creating, /)
  const type = await at.cli.run('images', 'list', '-t', 'iso')
  assert.equal(type.err, 'ERROR: type must be one of official, upload, snapshot\n')
  assert.deepEqual([status.code, type.code, at.api.lines.length], [1, 1, 0])
})

test('images list: "available" matches nothing, as in the official client, and says why', async () => {
  await using at = await open()
  at.api.images.set('img-mine1', fakeImage('img-mine1'))
  const { out, err } = await at.cli.run('images', 'list', '-s', 'available')
  assert.deepEqual([out, err], ['\n', 'HINT: available images are listed as public or private\n'])
})

test('image register: the line of the documentation sends what the official client sends', async () => {
  await using at = await open()
  const url = 'https://geo.mirror.pkgbuild.com/images/latest/Arch-Linux-x86_64-cloudimg.qcow2'
  const line = ['image', 'register', '--url', url, '-n', 'arch-latest', '--arch=x86_64']
  const { out, err, code } = await at.cli.run(...line)
  assert.deepEqual([out, err, code], [REGISTERED, '', 0])
  assert.deepEqual(at.api.lines, [
    `POST /1.0/images${A} {"arch":"x86_64","compatibility_mode":false,"description":null,"min_ram":0,` +
      `"name":"arch-latest","public":false,"username":null,"http_url":"${url}"}`,
    `GET /1.0/images/img-8yeen${A}`,
  ])
})

test('image register: every option goes into the body, in the order of the official client', async () => {
  await using at = await open('')
  const line = '-a x86_64 --url http://h/disk.img -n Foo -d Desc -u ubuntu --min-ram 512'.split(' ')
  await at.cli.run('image', 'register', ...line)
  assert.equal(
    at.api.lines[0],
    'POST /1.0/images {"arch":"x86_64","compatibility_mode":false,"description":"Desc","min_ram":512,' +
      '"name":"Foo","public":false,"username":"ubuntu","http_url":"http://h/disk.img"}',
  )
  await at.cli.run('images', 'register', ...'-a i686 --volume vol-12345 -m compatibility -p true'.split(' '))
  assert.equal(
    at.api.lines[2],
    'POST /1.0/images {"arch":"i686","compatibility_mode":true,"description":null,"min_ram":0,"name":null,' +
      '"public":true,"username":null,"volume":"vol-12345"}',
  )
  const sum = `sha256:${'AB'.repeat(32)}`
  await at.cli.run('images', 'register', '-a', 'i686', '-s', 'srv-12345', '--checksum', sum)
  assert.match(at.api.lines[4] ?? '', /"server":"srv-12345","checksum":"sha256:(ab){32}"}$/)
})

const REFUSED: readonly (readonly [line: string, message: string])[] = [
  ['', 'You must specify the architecture'],
  ['-a x86_64', "You must specify one of 'server', 'url', or 'volume'"],
  [
    '-a x86_64 --url http://h/ --volume vol-1',
    "You cannot register from multiple sources. Use either 'server', 'url', or 'volume'",
  ],
  [
    '-a x86_64 --url http://h/ --file x',
    "You cannot register from multiple sources. Use either 'server', 'url', or 'volume'",
  ],
  ['-a x86_64 --url http://h/ -m fast', "Mode must be 'virtio' or 'compatibility'"],
  ['-a x86_64 --url http://h/ -p maybe', 'Public must be true or false'],
  ['-a x86_64 --url http://h/ --min-ram lots', 'min-ram must be a whole number of MB, 0 or more'],
  ['-a x86_64 --url http://h/ --min-ram=-1', 'min-ram must be a whole number of MB, 0 or more'],
  ['-a x86_64 --url http://h/ --checksum md5:1', 'checksum must be sha256: and 64 hexadecimal digits'],
  ['-a x86_64 --url', "option '--url <url>' argument missing"],
  ['-a x86_64 --urll http://h/', "unknown option '--urll'"],
  ['-a x86_64 --url http://h/ img-12345', 'register takes no argument, but got img-12345'],
  ['-a x86_64 --file nowhere.img', 'read nowhere.img: no such file or folder'],
  ['-a x86_64 --file .', 'read .: it is not a regular file'],
]

for (const [line, message] of REFUSED) {
  test(`image register: "${line}" is refused before anything is asked`, async () => {
    await using at = await open()
    const { out, err, code } = await at.cli.run('image', 'register', ...line.split(' ').filter(Boolean))
    assert.equal(err.split('\n')[0], `ERROR: ${message}`)
    assert.deepEqual([out, code, at.api.lines], ['', 1, []])
  })
}

test('image register: what the library refuses is said with its reason and hint', async () => {
  await using at = await open()
  at.api.on('POST /1.0/images', (_request, response) => {
    response.writeHead(422, { 'Content-Type': 'application/json' })
    const errors = ['arch must be x86_64 or i686', 'name is too long']
    response.end(JSON.stringify({ error_name: 'unprocessable_entity', errors, hint: 'mend it' }))
  })
  const { err, code } = await at.cli.run('image', 'register', '--url', 'http://h/', '-a', 'arm64')
  assert.equal(err, 'ERROR: register image: arch must be x86_64 or i686 name is too long\nHINT: mend it\n')
  assert.equal(code, 1)
})

test('images show: prints the fields of the official client, then ours where there are any', async () => {
  await using at = await open()
  const more = {
    public: true,
    ancestor: fakeImage('img-older'),
    digest: `sha256:${'ab'.repeat(32)}`,
    source_info: { format: 'xz+raw' },
  }
  at.api.images.set('img-mine1', fakeImage('img-mine1', more))
  const { out, err } = await at.cli.run('image', 'show', 'img-mine1')
  assert.equal(err, '')
  assert.equal(
    out,
    `                id: img-mine1
              type: upload
             owner: acc-12345
        created_at: 2022-01-02T03:04Z
            status: public
            locked: false
              arch: x86_64
              name: My upload
       description: 
          username: 
      virtual_size: 2252
         disk_size: 512
            public: true
compatibility_mode: false
          official: false
       ancestor_id: img-older
      licence_name: 
           min_ram: 0
            digest: sha256:${'ab'.repeat(32)}
            format: xz+raw
`,
  )
  assert.deepEqual(at.api.lines, [`GET /1.0/images/img-mine1${A}`])
})

test('images show: a failed registration shows why, and a running one how far it is', async () => {
  await using at = await open()
  const failure = { code: 'bad-header', message: 'the header is damaged', hint: 'get another copy' }
  const progress = { phase: 'receiving', percent: 42.5, bytes_done: 1048576, bytes_total: 2097152 }
  const running = { ...progress, rate: 524288, eta_seconds: 2, attempt: 2 }
  at.api.images.set('img-bad01', fakeImage('img-bad01', { status: 'failed', failure }))
  at.api.images.set('img-new01', fakeImage('img-new01', { status: 'creating', progress: running }))
  const { out } = await at.cli.run('-s', 'images', 'show', 'img-bad01', 'img-new01')
  assert.match(
    out,
    /\nfailure\tthe header is damaged \(bad-header\)\nhint\tget another copy\nid\timg-new01\n/,
  )
  assert.match(out, /\nprogress\treceiving 42%, 1.0 MiB of 2.0 MiB, 512.0 KiB\/s, 2s left, attempt 2\n$/)
})

test('images show: several images have an empty line after each; a missing one ends it all', async () => {
  await using at = await open()
  at.api.images.set('img-aaaaa', fakeImage('img-aaaaa'))
  at.api.images.set('img-bbbbb', fakeImage('img-bbbbb'))
  const both = await at.cli.run('images', 'show', 'img-aaaaa', 'img-bbbbb')
  assert.match(both.out, /min_ram: 0\n\n +id: img-bbbbb\n[\s\S]*min_ram: 0\n\n$/)
  const { out, err, code } = await at.cli.run('images', 'show', 'img-aaaaa', 'img-gone1')
  assert.deepEqual([out, code], ['', 1])
  assert.match(err, /^ERROR: Couldn't find an image with ID img-gone1\nHINT: /)
})

test('images show: text from elsewhere cannot move the cursor or fake a line', async () => {
  await using at = await open()
  at.api.images.set('img-evil1', fakeImage('img-evil1', { name: 'a\u001b[2Jb\nid: img-fake1' }))
  const { out } = await at.cli.run('images', 'show', 'img-evil1')
  assert.match(out, / name: a\\x1b\[2Jb\\nid: img-fake1\n/)
})

test('images update: reads, changes and reads twice; an empty text clears', async () => {
  await using at = await open()
  at.api.images.set('img-8yeen', fakeImage('img-8yeen'))
  const named = await at.cli.run('image', 'update', '-n', 'New', 'img-8yeen')
  assert.equal(named.err, 'Updating image img-8yeen\n')
  assert.match(
    named.out,
    / img-8yeen {2}acc-12345 {2}upload {2}2022-01-02 {2}private {2}2252 {2}x86_64 {2}New /,
  )
  const get = `GET /1.0/images/img-8yeen${A}`
  assert.deepEqual(at.api.lines, [get, `PUT /1.0/images/img-8yeen${A} {"name":"New"}`, get, get])
  const line = '-a i686 -m compatibility -p true --min-ram 99 --deprecated=true -u root'.split(' ')
  await at.cli.run('image', 'update', ...line, '-d', 'x y', 'img-8yeen')
  assert.equal(
    at.api.lines[5],
    `PUT /1.0/images/img-8yeen${A} {"arch":"i686","description":"x y","username":"root",` +
      '"compatibility_mode":true,"public":true,"min_ram":99,"status":"deprecated"}',
  )
  await at.cli.run('image', 'update', '-n', '', '-d', '', 'img-8yeen')
  assert.equal(at.api.lines[9], `PUT /1.0/images/img-8yeen${A} {"name":null,"description":null}`)
})

test('images update: the lines of the documentation work, and options may stand after the id', async () => {
  await using at = await open('')
  at.api.images.set('img-8yeen', fakeImage('img-8yeen'))
  await at.cli.run('images', 'update', '--mode=compatibility', 'img-8yeen')
  const { out } = await at.cli.run('images', 'update', '--public=true', 'img-8yeen')
  await at.cli.run('images', 'update', 'img-8yeen', '--deprecated', 'false')
  const puts = at.api.lines.filter((line) => line.startsWith('PUT'))
  assert.deepEqual(
    puts.map((line) => line.replace(/^\S+ \S+ /, '')),
    ['{"compatibility_mode":true}', '{"public":true}', '{"status":"available"}'],
  )
  assert.match(out, / public /)
})

test('images update: nothing to change sends nothing to change', async () => {
  await using at = await open('')
  at.api.images.set('img-8yeen', fakeImage('img-8yeen'))
  const { code } = await at.cli.run('images', 'update', 'img-8yeen')
  assert.equal(code, 0)
  assert.deepEqual(at.api.lines, Array(3).fill('GET /1.0/images/img-8yeen'))
})

test('images update: wrong values and a missing id are refused with the rule', async () => {
  await using at = await open()
  const refusal = async (...args: string[]) =>
    (await at.cli.run('images', 'update', ...args)).err.split('\n')[0]
  assert.equal(await refusal(), 'ERROR: You must specify the image to update as the first argument')
  assert.equal(
    await refusal('srv-12345'),
    'ERROR: You must specify the image to update as the first argument',
  )
  assert.equal(await refusal('--mode=fast', 'img-8yeen'), "ERROR: Mode must be 'virtio' or 'compatibility'")
  assert.equal(await refusal('--public=1', 'img-8yeen'), 'ERROR: Public must be true or false')
  assert.equal(await refusal('--deprecated=1', 'img-8yeen'), 'ERROR: Deprecated must be true or false')
  assert.deepEqual(at.api.lines, [])
  assert.equal(await refusal('img-gone1'), "ERROR: Couldn't find 'img-gone1'")
})

test('images destroy: reads all, then deletes and reads each', async () => {
  await using at = await open()
  at.api.images.set('img-aaaaa', fakeImage('img-aaaaa'))
  at.api.images.set('img-bbbbb', fakeImage('img-bbbbb'))
  const { out, err, code } = await at.cli.run('image', 'destroy', 'img-aaaaa', 'img-bbbbb')
  assert.equal(err, 'Destroying image img-aaaaa\nDestroying image img-bbbbb\n')
  assert.equal(out.match(/ deleting /g)?.length, 2)
  assert.equal(code, 0)
  const path = (id: string) => `/1.0/images/${id}${A}`
  assert.deepEqual(at.api.lines, [
    `GET ${path('img-aaaaa')}`,
    `GET ${path('img-bbbbb')}`,
    `DELETE ${path('img-aaaaa')}`,
    `GET ${path('img-aaaaa')}`,
    `DELETE ${path('img-bbbbb')}`,
    `GET ${path('img-bbbbb')}`,
  ])
  assert.equal(at.api.requests[2]?.headers['content-length'], '0')
})

test('images destroy: a locked image, a missing one and none at all are errors', async () => {
  await using at = await open()
  at.api.images.set('img-aaaaa', fakeImage('img-aaaaa'))
  at.api.on('DELETE /1.0/images/img-aaaaa', problem(409, 'resource_locked', 'the image is locked'))
  const locked = await at.cli.run('image', 'destroy', 'img-aaaaa')
  assert.equal(
    locked.err,
    'Destroying image img-aaaaa\nERROR: destroy image img-aaaaa: the image is locked\n',
  )
  const gone = await at.cli.run('image', 'destroy', 'img-gone1')
  assert.match(gone.err, /^ERROR: Couldn't find image img-gone1\n/)
  const none = await at.cli.run('image', 'destroy')
  assert.equal(none.err, 'ERROR: You must specify the images you want to destroy\n')
  assert.deepEqual([locked.code, gone.code, none.code], [1, 1, 1])
})

test('images lock and unlock: say so on stderr and print nothing', async () => {
  await using at = await open()
  at.api.images.set('img-aaaaa', fakeImage('img-aaaaa'))
  assert.deepEqual(await at.cli.run('image', 'lock', 'img-aaaaa'), {
    out: '',
    err: 'Locking img-aaaaa\n',
    code: 0,
  })
  const unlock = await at.cli.run('images', 'unlock', 'img-aaaaa')
  assert.deepEqual(unlock, { out: '', err: 'Unlocking img-aaaaa\n', code: 0 })
  assert.deepEqual(at.api.lines, [
    `GET /1.0/images/img-aaaaa${A}`,
    `PUT /1.0/images/img-aaaaa/lock_resource${A}`,
    `GET /1.0/images/img-aaaaa${A}`,
    `PUT /1.0/images/img-aaaaa/unlock_resource${A}`,
  ])
  assert.equal(at.api.requests[1]?.headers['content-length'], '0')
  const gone = await at.cli.run('image', 'lock', 'img-gone1')
  assert.match(gone.err, /^ERROR: Couldn't find img-gone1\n/)
})

test('images: --json prints what the library sent, one object where one was asked for', async () => {
  await using at = await open()
  at.api.images.set('img-8yeen', fakeImage('img-8yeen'))
  const json = async (...args: string[]) => JSON.parse((await at.cli.run(...args)).out)
  assert.deepEqual(await json('--json', 'images'), [fakeImage('img-8yeen')])
  assert.deepEqual(await json('images', 'list', '--json'), [fakeImage('img-8yeen')])
  assert.deepEqual(await json('image', 'show', 'img-8yeen', '--json'), fakeImage('img-8yeen'))
  assert.equal((await json('image', 'lock', 'img-8yeen', '--json')).locked, true)
  assert.equal((await json('image', 'update', '--json', '-n', 'x', 'img-8yeen')).name, 'x')
  assert.equal((await json('image', 'destroy', '--json', 'img-8yeen')).status, 'deleting')
  at.api.on('GET /1.0/images', answerJson([]))
  assert.deepEqual(await json('images', '--json'), [])
})

test('images list: nothing found is an error, and a mistyped subcommand gets the list of them', async () => {
  await using at = await open()
  const { err, code } = await at.cli.run('-s', 'images', 'frobnicate')
  assert.match(err, /^Could not find anything with ID frobnicate\nERROR: .*\nHINT: images takes list, show, /)
  assert.equal(code, 1)
  const program = createProgram({ run: async () => {}, version: '0' })
  const words = readTree(program).sub.get('images')?.words ?? []
  for (const word of words) assert.match(err, new RegExp(`\\b${word}\\b`))
  const gone = await at.cli.run('images', 'list', 'img-gone1')
  assert.match(gone.err, /HINT: images list shows those there are\n$/)
  assert.equal(gone.code, 1)
})

test('images show: things worth knowing about the source stand after its format', async () => {
  await using at = await open()
  const source_info = { format: 'raw', notes: ['It looks like an ISO 9660.', 'It was padded.'] }
  at.api.images.set('img-mine1', fakeImage('img-mine1', { source_info }))
  const { out } = await at.cli.run('-s', 'images', 'show', 'img-mine1')
  assert.match(out, /\nformat\traw\nnote\tIt looks like an ISO 9660\.\nnote\tIt was padded\.\n/)
})
