import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { ServerType } from '#model/server-type.ts'
import type { Flags } from '../config.ts'
import { printRows } from '../rows.ts'
import { parseMib, printSize } from '../units.ts'
import { withParts } from '../with-parts.ts'

export interface ServerTypeFlags extends Flags {
  readonly name?: string
  readonly handle?: string
  readonly cores?: string
  readonly ram?: string
  readonly disk?: string
  readonly status?: string
}

export function listServerTypes(flags: Flags): Promise<void> {
  return withParts(flags, async ({ library }) => print(await library.operator.listServerTypes()))
}

export async function addServerType(handle: string, flags: ServerTypeFlags): Promise<void> {
  const { cores, ram, diskSize, ...others } = readFlags(flags)
  if (cores === undefined || ram === undefined || diskSize === undefined)
    throw new LibraryError('invalid', '--cores, --ram and --disk are required')
  await withParts(flags, async ({ library }) =>
    print([await library.operator.addServerType({ ...others, handle, cores, ram, diskSize })]),
  )
}

export async function updateServerType(id: string, flags: ServerTypeFlags): Promise<void> {
  const change = readFlags(flags)
  await withParts(flags, async ({ library }) => print([await library.operator.updateServerType(id, change)]))
}

export function removeServerType(id: string, flags: Flags): Promise<void> {
  return withParts(flags, async ({ library }) => print([await library.operator.removeServerType(id)]))
}

/** What was given; the library says what is wrong with the numbers. */
function readFlags({ name, handle, cores, ram, disk, status }: ServerTypeFlags) {
  return {
    ...(name === undefined ? {} : { name }),
    ...(handle === undefined ? {} : { handle }),
    ...(cores === undefined ? {} : { cores: Number(cores) }),
    ...(ram === undefined ? {} : { ram: readSize('ram', ram) }),
    ...(disk === undefined ? {} : { diskSize: disk === 'none' ? 0 : readSize('disk', disk) }),
    ...(status === undefined ? {} : { status }),
  }
}

function readSize(name: string, text: string): number {
  const size = parseMib(text)
  if (Number.isInteger(size)) return size
  throw new LibraryError('invalid', `--${name} ${text} must be a size in whole MiB such as 8GiB`)
}

function print(types: readonly ServerType[]): void {
  const rows = types.map(({ id, handle, status, cores, ram, diskSize, name }) => {
    const disk = diskSize === 0 ? 'none' : printSize(diskSize * MiB)
    return [id, handle, status, String(cores), printSize(ram * MiB), disk, name]
  })
  console.log(printRows(['id', 'handle', 'status', 'cores', 'ram', 'disk', 'name'], rows))
}
