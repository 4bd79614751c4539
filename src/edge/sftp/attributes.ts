import type { FieldReader } from './wire.ts'

/** What a client sets; what it leaves out stays. Times in seconds since 1970. */
export interface SetAttributes {
  readonly size?: number
  readonly mtime?: number
}

/** What a client is shown. There are no owners and no modes here, so these are the same for everybody. */
export type ShownAttributes =
  | { readonly kind: 'file'; readonly size: number; readonly mtime: number }
  | { readonly kind: 'directory'; readonly mtime: number }

const HAS = { size: 1, owner: 2, permissions: 4, times: 8, extended: 0x8000_0000 } as const
const FILE_MODE = 0o100644
const DIRECTORY_MODE = 0o040755
const TIME_MAX = 0xffff_ffff
const EXTENDED_MAX = 64

/** @throws MalformedPacket */
export function readAttributes(fields: FieldReader): SetAttributes {
  const flags = fields.uint32()
  const size = flags & HAS.size ? fields.uint64() : undefined
  if (flags & HAS.owner) {
    fields.uint32()
    fields.uint32()
  }
  if (flags & HAS.permissions) fields.uint32()
  let mtime: number | undefined
  if (flags & HAS.times) {
    fields.uint32()
    mtime = fields.uint32()
  }
  if (flags & HAS.extended) {
    for (let count = Math.min(fields.uint32(), EXTENDED_MAX); count > 0; count--) {
      fields.bytes()
      fields.bytes()
    }
  }
  return { ...(size === undefined ? {} : { size }), ...(mtime === undefined ? {} : { mtime }) }
}

export function attributeFields(attributes: ShownAttributes): Buffer {
  const fields = Buffer.alloc(32)
  fields.writeUInt32BE(HAS.size | HAS.owner | HAS.permissions | HAS.times, 0)
  fields.writeBigUInt64BE(BigInt(attributes.kind === 'file' ? attributes.size : 0), 4)
  fields.writeUInt32BE(attributes.kind === 'file' ? FILE_MODE : DIRECTORY_MODE, 20)
  const time = Math.min(Math.max(0, Math.floor(attributes.mtime)), TIME_MAX)
  fields.writeUInt32BE(time, 24)
  fields.writeUInt32BE(time, 28)
  return fields
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const HALF_A_YEAR_S = 182 * 24 * 3600

/** The line of `ls -l`, in UTC. */
export function longName(name: string, attributes: ShownAttributes, nowSeconds: number): string {
  const { kind, mtime } = attributes
  const mode = kind === 'file' ? '-rw-r--r--' : 'drwxr-xr-x'
  const size = String(kind === 'file' ? attributes.size : 0).padStart(12)
  const date = new Date(mtime * 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  const isRecent = mtime <= nowSeconds + 3600 && mtime > nowSeconds - HALF_A_YEAR_S
  const clock = isRecent
    ? `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`
    : String(date.getUTCFullYear()).padStart(5)
  const day = String(date.getUTCDate()).padStart(2)
  return `${mode}    1 0        0        ${size} ${MONTHS[date.getUTCMonth()]} ${day} ${clock} ${name}`
}
