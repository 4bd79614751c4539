import { TiB } from '#base/bytes.ts'

/** A file format that holds or packs disks, by our own name for it. Only qcow2 is read. */
interface Magic {
  readonly name: string
  readonly offset: number
  /** One character a byte. */
  readonly bytes: string
}

const at = (name: string, offset: number, bytes: string): Magic => ({ name, offset, bytes })

const MAGICS: readonly Magic[] = [
  at('qcow2', 0, 'QFI\xfb'),
  at('VMDK', 0, 'KDMV'),
  at('VMDK', 0, 'COWD'),
  at('VDI', 0x40, '\x7f\x10\xda\xbe'),
  at('VHD', 0, 'conectix'),
  at('VHDX', 0, 'vhdxfile'),
  at('QED', 0, 'QED\0'),
  at('LUKS encrypted', 0, 'LUKS\xba\xbe'),
  at('Parallels', 0, 'WithoutFreeSpace'),
  at('Parallels', 0, 'WithouFreSpacExt'),
  at('Bochs', 0, 'Bochs Virtual HD Image'),
  at('Apple sparse', 0, 'shdw'),
  at('WIM', 0, 'MSWIM\0\0\0'),
  at('Android sparse', 0, '\x3a\xff\x26\xed'),
  at('tar or OVA', 257, 'ustar'),
  at('zip', 0, 'PK\x03\x04'),
  at('7z', 0, '7z\xbc\xaf\x27\x1c'),
  ...Array.from('123456789', (level) => at('bzip2', 0, `BZh${level}`)),
  at('lzip', 0, 'LZIP'),
]

/** Signatures that stand 512 bytes before the end. */
const TAIL_MAGICS: readonly Magic[] = [at('VHD', 0, 'conectix'), at('DMG', 0, 'koly')]

/** Names of all container formats that the first 64 KiB of a file, or all of a shorter one, can be taken for. */
export function containersAt(head: Uint8Array): Set<string> {
  const found = matching(MAGICS, head)
  if (isVmdkDescriptor(head)) found.add('VMDK')
  if (isLzmaAlone(head)) found.add('lzma')
  return found
}

/** The same for the last 512 bytes; those of a shorter file have no signature. */
export function containersAtEnd(tail: Uint8Array): Set<string> {
  return tail.length < 512 ? new Set() : matching(TAIL_MAGICS, tail.subarray(tail.length - 512))
}

function matching(magics: readonly Magic[], bytes: Uint8Array): Set<string> {
  const found = new Set<string>()
  for (const magic of magics) {
    const end = magic.offset + magic.bytes.length
    if (bytes.length < end) continue
    if (String.fromCharCode(...bytes.subarray(magic.offset, end)) === magic.bytes) found.add(magic.name)
  }
  return found
}

/** Text that names extent files; blank lines and other comments may stand before its title. */
function isVmdkDescriptor(head: Uint8Array): boolean {
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1')
  for (const line of text.split(/\r\n|\r|\n/)) {
    const words = line.trim().toLowerCase()
    if (words.startsWith('# disk descriptorfile')) return true
    if (words !== '' && !words.startsWith('#')) return false
  }
  return false
}

/** The old format has no signature: default properties, a round dictionary size, and an unknown or plausible size. */
function isLzmaAlone(head: Uint8Array): boolean {
  if (head.length < 13 || head[0] !== 0x5d || head[1] !== 0 || head[2] !== 0) return false
  const size = new DataView(head.buffer, head.byteOffset).getBigUint64(5, true)
  return size === 0xffff_ffff_ffff_ffffn || (size > 0n && size <= BigInt(64 * TiB))
}
