import { assert } from '#base/errors.ts'

/** A file in the image's only folder. */
export interface IsoFile {
  /** Letters, digits, `-` and `_`; as Linux shows it. */
  readonly name: string
  readonly bytes: Uint8Array
}

const SECTOR = 2048
/** What stands where, in sectors; the files follow the folder. */
const PRIMARY = 16
const TERMINATOR = 17
const LITTLE_PATH_TABLE = 18
const BIG_PATH_TABLE = 19
const FOLDER = 20

const PATH_TABLE_SIZE = 10
const RECORD_HEAD = 33
const IS_FOLDER = 2
/** Years since 1900, month, day, and midnight: every image has the same date, so that equal files make equal images. */
const DATE = Uint8Array.of(100, 1, 1, 0, 0, 0, 0)
/** Not known, as the standard writes it. */
const NO_DATE = `${'0'.repeat(16)}\0`

const FOLDER_MODE = 0o040555
/** For root alone: there may be secrets in them. */
const FILE_MODE = 0o100400

/**
 * Makes an ISO 9660 image of a few files in one folder, with their full names by Rock Ridge.
 * @param volumeId at most 32 characters of ASCII
 * @see ECMA-119; SUSP and RRIP 1.09
 */
export function makeIso(volumeId: string, files: readonly IsoFile[]): Uint8Array {
  assert(/^[ -~]{1,32}$/.test(volumeId), `a volume called ${volumeId}`)
  const sorted = [...files].sort((a, b) => (isoName(a.name) < isoName(b.name) ? -1 : 1))
  let end = FOLDER + 1
  const placed = sorted.map((file) => {
    const sector = end
    end += Math.ceil(file.bytes.length / SECTOR)
    return { ...file, sector }
  })
  const image = Buffer.alloc(end * SECTOR)
  writePrimary(image, volumeId)
  image.write('\xffCD001\x01', TERMINATOR * SECTOR, 'latin1')
  writePathTables(image)
  writeFolder(image, placed)
  for (const { sector, bytes } of placed) image.set(bytes, sector * SECTOR)
  return image
}

/** What systems without Rock Ridge show; different for different names here. */
const isoName = (name: string) => `${name.toUpperCase().replaceAll('-', '_')}.;1`

function writePrimary(image: Buffer, volumeId: string): void {
  const at = PRIMARY * SECTOR
  image.fill(' ', at + 8, at + 72)
  image.fill(' ', at + 190, at + 813)
  image.write('\x01CD001\x01', at, 'latin1')
  image.write(volumeId, at + 40, 'latin1')
  writeBoth32(image, at + 80, image.length / SECTOR)
  // One volume in the set, and this is the first.
  writeBoth16(image, at + 120, 1)
  writeBoth16(image, at + 124, 1)
  writeBoth16(image, at + 128, SECTOR)
  writeBoth32(image, at + 132, PATH_TABLE_SIZE)
  image.writeUInt32LE(LITTLE_PATH_TABLE, at + 140)
  image.writeUInt32BE(BIG_PATH_TABLE, at + 148)
  image.set(record({ id: '\0', sector: FOLDER, length: SECTOR, flags: IS_FOLDER }), at + 156)
  for (const date of [813, 830, 847, 864]) image.write(NO_DATE, at + date, 'latin1')
  // Version of the structure.
  image[at + 881] = 1
}

/** The one folder, which is its own parent. */
function writePathTables(image: Buffer): void {
  const little = LITTLE_PATH_TABLE * SECTOR
  const big = BIG_PATH_TABLE * SECTOR
  image[little] = image[big] = 1
  image.writeUInt32LE(FOLDER, little + 2)
  image.writeUInt16LE(1, little + 6)
  image.writeUInt32BE(FOLDER, big + 2)
  image.writeUInt16BE(1, big + 6)
}

function writeFolder(image: Buffer, files: readonly (IsoFile & { readonly sector: number })[]): void {
  const folder = { sector: FOLDER, length: SECTOR, flags: IS_FOLDER }
  const isFolder = attributes(FOLDER_MODE, 2)
  const records = [
    record({ ...folder, id: '\0', extras: [USES_SUSP, USES_ROCK_RIDGE, isFolder] }),
    record({ ...folder, id: '\x01', extras: [isFolder] }),
    ...files.map(({ name, sector, bytes }) => {
      const extras = [attributes(FILE_MODE, 1), longName(name)]
      return record({ id: isoName(name), sector, length: bytes.length, flags: 0, extras })
    }),
  ]
  const joined = Buffer.concat(records)
  assert(joined.length <= SECTOR, `${files.length} files in one sector`)
  image.set(joined, FOLDER * SECTOR)
}

interface RecordFields {
  readonly id: string
  readonly sector: number
  readonly length: number
  readonly flags: number
  /** Entries of the system use area. */
  readonly extras?: readonly Buffer[]
}

function record({ id, sector, length, flags, extras = [] }: RecordFields): Buffer {
  const head = Buffer.alloc(RECORD_HEAD + id.length + (id.length % 2 === 0 ? 1 : 0))
  const whole = Buffer.concat([head, ...extras])
  const even = whole.length % 2 === 0 ? whole : Buffer.concat([whole, Buffer.alloc(1)])
  assert(even.length <= 255, `a directory record of ${even.length} bytes`)
  even[0] = even.length
  writeBoth32(even, 2, sector)
  writeBoth32(even, 10, length)
  even.set(DATE, 18)
  even[25] = flags
  writeBoth16(even, 28, 1)
  even[32] = id.length
  even.write(id, RECORD_HEAD, 'latin1')
  return even
}

/** An entry of the system use area, of version 1. */
function entry(signature: string, data: Buffer): Buffer {
  const head = Buffer.from(`${signature}\0\x01`, 'latin1')
  const whole = Buffer.concat([head, data])
  whole[2] = whole.length
  return whole
}

const USES_SUSP = entry('SP', Buffer.of(0xbe, 0xef, 0))
/** Lengths of identifier, description and source; version. */
const USES_ROCK_RIDGE = entry('ER', Buffer.from('\x0a\0\0\x01RRIP_1991A', 'latin1'))

function attributes(mode: number, links: number): Buffer {
  const data = Buffer.alloc(32)
  writeBoth32(data, 0, mode)
  writeBoth32(data, 8, links)
  return entry('PX', data)
}

const longName = (name: string) => entry('NM', Buffer.from(`\0${name}`, 'latin1'))

/** Numbers stand there twice, in either order of bytes. */
function writeBoth32(target: Buffer, offset: number, value: number): void {
  target.writeUInt32LE(value, offset)
  target.writeUInt32BE(value, offset + 4)
}

function writeBoth16(target: Buffer, offset: number, value: number): void {
  target.writeUInt16LE(value, offset)
  target.writeUInt16BE(value, offset + 2)
}
