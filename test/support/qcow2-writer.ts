import { deflateRawSync } from 'node:zlib'

export const COPIED = 1n << 63n
export const COMPRESSED = 1n << 62n
export const READS_AS_ZEROS = 1n
const SECTOR = 512

/** Header fields by name, as numbers of their own width; see QEMU docs/interop/qcow2.txt, "Header". */
export interface HeaderFields {
  magic: number
  version: number
  backingOffset: bigint
  backingSize: number
  clusterBits: number
  size: bigint
  cryptMethod: number
  l1Size: number
  l1Offset: bigint
  refcountOffset: bigint
  refcountClusters: number
  snapshots: number
  snapshotsOffset: bigint
  incompatible: bigint
  compatible: bigint
  autoclear: bigint
  refcountOrder: number
  headerLength: number
  compressionType: number
}

export interface WriterOptions {
  readonly size: number
  readonly clusterBits?: number
  readonly version?: 2 | 3
  readonly extendedL2?: boolean
  readonly compression?: 'deflate' | 'zstd'
  readonly headerLength?: number
  /** Entries of the L1 table, where it is not to be as long as the disk needs. */
  readonly l1Count?: number
}

/**
 * Makes qcow2 files, legal ones and others: host clusters are handed out in the order in which things are added, so
 * the caller decides the layout; every field, entry and byte can be bent. Reference counts are left at zero.
 */
export class Qcow2Writer {
  readonly clusterSize: number
  readonly #options: Required<Omit<WriterOptions, 'l1Count'>> & { readonly l1Count?: number }
  readonly #entrySize: number
  readonly #parts = new Map<number, Uint8Array>()
  readonly #pokes: Array<readonly [number, Uint8Array]> = []
  readonly #entries = new Map<number, readonly [bigint, bigint]>()
  readonly #l2Offsets = new Map<number, number>()
  readonly #l1Entries = new Map<number, bigint>()
  readonly #extensions: Array<readonly [number, Uint8Array, number]> = []
  #fields: Partial<HeaderFields> = {}
  #l1At: number | undefined
  #end: number
  #tail: number | undefined
  #padded = true

  constructor(options: WriterOptions) {
    const { version = 3 } = options
    const defaults = { clusterBits: 16, version, extendedL2: false, compression: 'deflate' } as const
    this.#options = { headerLength: version === 2 ? 72 : 112, ...defaults, ...options }
    this.clusterSize = 1 << this.#options.clusterBits
    this.#entrySize = this.#options.extendedL2 ? 16 : 8
    this.#end = this.clusterSize
  }

  get entriesPerTable(): number {
    return this.clusterSize / this.#entrySize
  }

  get l1Count(): number {
    const { l1Count, size } = this.#options
    return l1Count ?? Math.ceil(size / (this.clusterSize * this.entriesPerTable))
  }

  /** @returns the offset of the first of `count` fresh host clusters */
  allocate(count = 1): number {
    const at = this.#end
    this.#end += count * this.clusterSize
    this.#tail = undefined
    return at
  }

  /** Maps a guest cluster to a fresh host cluster. @returns its offset */
  data(guest: number, content: Uint8Array): number {
    const at = this.allocate()
    this.#parts.set(at, content)
    this.entry(guest, BigInt(at) | COPIED, this.#options.extendedL2 ? 0xffffffffn : 0n)
    return at
  }

  /** Appends a compressed stream right behind the one before it. @returns its offset */
  pack(guest: number, stream: Uint8Array, { gap = 0, extraSectors = 0 } = {}): number {
    const at = (this.#tail ?? this.#end) + gap
    this.#tail = at + stream.length
    this.#end = Math.max(this.#end, Math.ceil(this.#tail / this.clusterSize) * this.clusterSize)
    this.#parts.set(at, stream)
    this.entry(guest, this.descriptor(at, stream.length, extraSectors))
    return at
  }

  /** Deflates a cluster and packs it. */
  packDeflated(guest: number, content: Uint8Array): number {
    return this.pack(guest, deflateRawSync(content, { windowBits: 12 }))
  }

  /** The entry of a compressed cluster. */
  descriptor(at: number, length: number, extraSectors = 0): bigint {
    const shift = BigInt(62 - (this.#options.clusterBits - 8))
    const sectors = Math.floor((at + length - 1) / SECTOR) - Math.floor(at / SECTOR) + extraSectors
    return COMPRESSED | (BigInt(sectors) << shift) | BigInt(at)
  }

  entry(guest: number, value: bigint, bitmap = 0n): void {
    this.#entries.set(guest, [value, bitmap])
  }

  entryOf(guest: number): bigint {
    return this.#entries.get(guest)?.[0] ?? 0n
  }

  /** Puts the L2 table here if it has no place yet. @returns its offset */
  l2At(index: number): number {
    const at = this.#l2Offsets.get(index) ?? this.allocate()
    this.#l2Offsets.set(index, at)
    return at
  }

  /** Puts the L1 table here if it has no place yet. @returns its offset */
  l1At(): number {
    this.#l1At ??= this.allocate(Math.max(1, Math.ceil((this.l1Count * 8) / this.clusterSize)))
    return this.#l1At
  }

  /** Puts every table before the data, so that data ends the file. */
  tablesFirst(): this {
    this.l1At()
    for (let index = 0; index < this.l1Count; index++) this.l2At(index)
    return this
  }

  l1Entry(index: number, value: bigint): void {
    this.#l1Entries.set(index, value)
  }

  /** @param claimed the length to write, where it is to be a lie */
  extension(type: number, content: Uint8Array, claimed = content.length): void {
    this.#extensions.push([type, content, claimed])
  }

  set(fields: Partial<HeaderFields>): this {
    this.#fields = { ...this.#fields, ...fields }
    return this
  }

  /** Overwrites bytes at the very end of the making. */
  poke(at: number, content: Uint8Array): void {
    this.#pokes.push([at, content])
  }

  /** Lets the file end behind its last part instead of with a whole cluster. */
  unpadded(): this {
    this.#padded = false
    return this
  }

  build(): Uint8Array {
    const tables = new Map<number, Uint8Array>()
    for (const guest of [...this.#entries.keys()].sort((a, b) => a - b)) {
      this.l2At(Math.floor(guest / this.entriesPerTable))
    }
    for (const at of this.#l2Offsets.values()) tables.set(at, new Uint8Array(this.clusterSize))
    for (const [guest, [value, bitmap]] of this.#entries) {
      const table = viewOf(tables.get(this.l2At(Math.floor(guest / this.entriesPerTable))))
      const at = (guest % this.entriesPerTable) * this.#entrySize
      table.setBigUint64(at, value)
      if (this.#entrySize === 16) table.setBigUint64(at + 8, bitmap)
    }
    const l1 = new Uint8Array(this.l1Count * 8)
    for (const [index, at] of this.#l2Offsets) {
      if (index < this.l1Count) viewOf(l1).setBigUint64(index * 8, BigInt(at) | COPIED)
    }
    for (const [index, value] of this.#l1Entries) viewOf(l1).setBigUint64(index * 8, value)
    const parts = [...this.#parts, ...tables, [this.l1At(), l1] as const, [0, this.#header()] as const]
    const written = [...parts, ...this.#pokes]
    const least = this.#padded ? this.#end : 0
    const file = new Uint8Array(
      written.reduce((end, [at, content]) => Math.max(end, at + content.length), least),
    )
    for (const [at, content] of written) file.set(content, at)
    return file
  }

  #header(): Uint8Array {
    const { size, clusterBits, version, extendedL2, compression, headerLength } = this.#options
    const fields: HeaderFields = {
      ...{ magic: 0x514649fb, version, backingOffset: 0n, backingSize: 0, clusterBits, size: BigInt(size) },
      ...{ cryptMethod: 0, l1Size: this.l1Count, l1Offset: BigInt(this.l1At()) },
      ...{ refcountOffset: BigInt(this.clusterSize), refcountClusters: 1, snapshots: 0, snapshotsOffset: 0n },
      ...{ incompatible: (compression === 'zstd' ? 8n : 0n) | (extendedL2 ? 16n : 0n) },
      ...{ compatible: 0n, autoclear: 0n, refcountOrder: 4, headerLength },
      ...{ compressionType: compression === 'zstd' ? 1 : 0 },
      ...this.#fields,
    }
    const extensions = this.#extensions.map(([type, content, claimed]) => {
      const bytes = new Uint8Array(8 + Math.ceil(content.length / 8) * 8)
      viewOf(bytes).setUint32(0, type)
      viewOf(bytes).setUint32(4, claimed)
      bytes.set(content, 8)
      return bytes
    })
    const fixed = new Uint8Array(Math.max(headerLength, 112))
    writeFields(viewOf(fixed), fields)
    return Buffer.concat([fixed.subarray(0, headerLength), ...extensions])
  }
}

function writeFields(view: DataView, fields: HeaderFields): void {
  view.setUint32(0, fields.magic)
  view.setUint32(4, fields.version)
  view.setBigUint64(8, fields.backingOffset)
  view.setUint32(16, fields.backingSize)
  view.setUint32(20, fields.clusterBits)
  view.setBigUint64(24, fields.size)
  view.setUint32(32, fields.cryptMethod)
  view.setUint32(36, fields.l1Size)
  view.setBigUint64(40, fields.l1Offset)
  view.setBigUint64(48, fields.refcountOffset)
  view.setUint32(56, fields.refcountClusters)
  view.setUint32(60, fields.snapshots)
  view.setBigUint64(64, fields.snapshotsOffset)
  view.setBigUint64(72, fields.incompatible)
  view.setBigUint64(80, fields.compatible)
  view.setBigUint64(88, fields.autoclear)
  view.setUint32(96, fields.refcountOrder)
  view.setUint32(100, fields.headerLength)
  view.setUint8(104, fields.compressionType)
}

function viewOf(bytes: Uint8Array | undefined): DataView {
  if (!bytes) throw new Error('no such table')
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
