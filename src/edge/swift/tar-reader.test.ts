import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Header, pack } from 'tar-stream'
import { ByteFeed } from '#base/byte-feed.ts'
import { readTar } from './tar-reader.ts'

type EntryHeader = Partial<Header> & Pick<Header, 'name'>

async function make(entries: readonly [EntryHeader, string][]): Promise<Buffer> {
  const archive = pack()
  for (const [header, body] of entries) archive.entry(header, body)
  archive.finalize()
  return buffer(archive)
}

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield Uint8Array.from(bytes.subarray(at, at + size))
}

async function read(bytes: Uint8Array, size = 4096) {
  const entries: { name: string; isFile: boolean; size: number; text: string }[] = []
  for await (const entry of readTar(new ByteFeed(inPieces(bytes, size)))) {
    const { isFile, size } = entry
    const chunks: Buffer[] = []
    for await (const chunk of entry.bytes()) chunks.push(Buffer.from(chunk))
    const text = Buffer.concat(chunks).toString()
    entries.push({ name: Buffer.from(entry.name).toString(), isFile, size, text })
  }
  return entries
}

const names = async (bytes: Uint8Array) => (await read(bytes)).map(({ name }) => name)

/** A header whose fields can be anything; its checksum is right. */
function header(change: (block: Buffer) => void): Buffer {
  const block = Buffer.alloc(512)
  block.write('name', 0)
  block.write('00000000000\0', 124)
  block.write('0', 156)
  block.write('ustar\x0000', 257)
  change(block)
  block.fill(0x20, 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

const END = Buffer.alloc(1024)
const padded = (text: string | Buffer) => {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])
}
const extension = (type: string, body: string | Buffer) =>
  Buffer.concat([
    header((block) => {
      block.write(Buffer.byteLength(body).toString(8).padStart(11, '0'), 124)
      block.write(type, 156)
    }),
    padded(body),
  ])

test('tar: files, folders and links, in whatever pieces they come', async () => {
  const bytes = await make([
    [{ name: 'a.txt' }, 'hello'],
    [{ name: 'dir/', type: 'directory' }, ''],
    [{ name: 'dir/empty' }, ''],
    [{ name: 'link', type: 'symlink', linkname: '/etc/passwd' }, ''],
    [{ name: 'block' }, 'x'.repeat(1024)],
  ])
  const expected = [
    { name: 'a.txt', isFile: true, size: 5, text: 'hello' },
    { name: 'dir/', isFile: false, size: 0, text: '' },
    { name: 'dir/empty', isFile: true, size: 0, text: '' },
    { name: 'link', isFile: false, size: 0, text: '' },
    { name: 'block', isFile: true, size: 1024, text: 'x'.repeat(1024) },
  ]
  for (const size of [1, 7, 511, 512, 513, 100_000]) assert.deepEqual(await read(bytes, size), expected)
})

test('tar: long names come in the prefix, in a pax header, or as GNU tar has them', async () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}`
  assert.deepEqual(await names(await make([[{ name: long }, '']])), [long])
  const wide = `${'größe/'.repeat(80)}x`
  assert.deepEqual(
    await names(
      await make([
        [{ name: wide }, 'x'],
        [{ name: 'next' }, ''],
      ]),
    ),
    [wide, 'next'],
  )
  const gnu = Buffer.concat([extension('L', `${wide}\0`), header(() => {}), header(() => {}), END])
  assert.deepEqual(await names(gnu), [wide, 'name'])
})

test('tar: an entry that nobody reads is passed over', async () => {
  const bytes = await make([
    [{ name: 'a' }, 'x'.repeat(5000)],
    [{ name: 'b' }, 'y'],
  ])
  const seen: string[] = []
  for await (const { name } of readTar(new ByteFeed(inPieces(bytes, 100))))
    seen.push(Buffer.from(name).toString())
  assert.deepEqual(seen, ['a', 'b'])
})

test('tar: an archive may end without its zeros, and what follows them is left alone', async () => {
  const [file] = [header(() => {})]
  assert.deepEqual(await names(file), ['name'])
  assert.deepEqual(await names(Buffer.concat([file, END, Buffer.from('rubbish')])), ['name'])
  assert.deepEqual(await names(Buffer.alloc(0)), [])
})

test('tar: what is damaged, cut off, or too much is refused', async () => {
  const size = (text: string) => header((block) => void block.write(text, 124, 'latin1'))
  const cases: [RegExp, Buffer][] = [
    [/bad checksum/, Buffer.alloc(512, '1')],
    [/invalid header/, size('99999999999\0')],
    [/invalid header/, size('-0000000001\0')],
    [/invalid header/, size('\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff')],
    [/invalid header/, size('\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff')],
    [/unexpected end/, size('00000000001\0')],
    [/unexpected end/, size('77777777777\0')],
    [/unexpected end/, header(() => {}).subarray(0, 511)],
    [/unexpected end/, extension('x', '10 size=1\n').subarray(0, 600)],
    [/more than 65536 bytes/, Buffer.concat([size('77777777777\0').fill('x', 156, 157)].map(sum))],
    [/sparse/, header((block) => void block.write('S', 156))],
    [/sparse/, Buffer.concat([extension('x', '22 GNU.sparse.major=1\n'), header(() => {})])],
    [/invalid header/, extension('x', '9 size=x\n')],
    [/invalid header/, extension('x', '99 path=x\n')],
    [/invalid header/, extension('x', '0 path=x\n')],
    [/invalid header/, extension('x', '-9 path=x\n')],
    [/invalid header/, extension('x', 'path=x\n')],
    [/invalid header/, extension('x', '9 pathx=\n'.replace('=', ''))],
    [/invalid header/, extension('x', '29 size=99999999999999999999\n')],
  ]
  for (const [message, bytes] of cases) {
    await assert.rejects(read(bytes), { name: 'TarProblem', message }, bytes.toString('latin1').slice(0, 20))
  }
})

/** Writes the checksum of a header anew. */
const sum = (block: Buffer) => header((fresh) => void block.copy(fresh))

test('tar: no bytes whatever do more than end in a refusal', async () => {
  const good = await make([
    [{ name: 'größe' }, 'x'.repeat(700)],
    [{ name: 'y'.repeat(300) }, 'z'],
  ])
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(good.length),
      async (changes, length) => {
        const bytes = Buffer.from(good.subarray(0, length))
        for (const [at, byte] of changes) if (at < length) bytes[at] = byte
        const entries = await read(bytes).catch((error: Error) => {
          assert.equal(error.name, 'TarProblem')
          return []
        })
        for (const { size, text } of entries)
          assert.ok(size >= Buffer.from(text).length || text.includes('\ufffd'))
      },
    ),
  )
})
