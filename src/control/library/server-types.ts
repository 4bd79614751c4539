import { LibraryError } from '#base/errors.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import { isId } from '#model/ids.ts'
import { DISK_SIZE_MAX, type ServerType } from '#model/server-type.ts'
import { invalid, readName } from './attributes.ts'
import type { Library, ServerTypeAttributes } from './library.ts'

const CORES_MAX = 256
/** MiB: QEMU itself takes some, and nothing boots in less. */
const RAM_MIN = 32
/** MiB: 16 TiB. */
const RAM_MAX = 16 * 1024 ** 2

type ServerTypeWork = Pick<
  Library['operator'],
  'listServerTypes' | 'addServerType' | 'updateServerType' | 'removeServerType'
>

/** The sizes that servers come in, as the operator changes them. Servers keep what they were built as. */
export function createServerTypes({ catalog }: { readonly catalog: Catalog }): ServerTypeWork {
  return {
    listServerTypes: () => catalog.serverTypes.list(),
    addServerType: (attributes) =>
      catalog.transaction(async (tables) => {
        const type = readType({ status: 'available', name: attributes.handle, ...attributes })
        await demandFreeHandle(tables, type.handle)
        return tables.serverTypes.insert(type)
      }),
    updateServerType: (idOrHandle, attributes) =>
      catalog.transaction(async (tables) => {
        const type = await find(tables, idOrHandle)
        const changed = readType({ ...type, ...attributes })
        if (changed.handle !== type.handle) await demandFreeHandle(tables, changed.handle)
        await tables.serverTypes.update(type.id, changed)
        return { id: type.id, ...changed }
      }),
    removeServerType: (idOrHandle) =>
      catalog.transaction(async (tables) => {
        const type = await find(tables, idOrHandle)
        if (await tables.serverTypes.remove(type.id)) return type
        throw new LibraryError(
          'conflict',
          `server type ${type.handle} has servers, or had: it stays readable`,
          {
            hint: 'Set its status to deprecated: no new servers are then built as it.',
          },
        )
      }),
  }
}

async function find({ serverTypes }: Pick<Tables, 'serverTypes'>, idOrHandle: string): Promise<ServerType> {
  const type = await serverTypes.find(idOrHandle)
  if (!type) throw new LibraryError('not_found', `server type ${idOrHandle} does not exist`)
  return type
}

async function demandFreeHandle({ serverTypes }: Pick<Tables, 'serverTypes'>, handle: string): Promise<void> {
  if (await serverTypes.find(handle)) throw new LibraryError('conflict', `handle ${handle} is taken`)
}

function readType(wanted: Required<ServerTypeAttributes>): Omit<ServerType, 'id'> {
  const { handle, status, cores, ram, diskSize } = wanted
  // Types are found by either: a handle must not look like an id.
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(handle) || isId('typ', handle))
    throw invalid('handle', 'must be lower-case letters, digits, dots and dashes, such as 1gb.ssd')
  if (status !== 'experimental' && status !== 'available' && status !== 'deprecated')
    throw invalid('status', 'must be experimental, available or deprecated')
  demandRange('cores', cores, 1, CORES_MAX)
  demandRange('ram', ram, RAM_MIN, RAM_MAX, ' of MiB')
  demandRange('disk', diskSize, 0, DISK_SIZE_MAX, ' of MiB')
  const storageType = diskSize === 0 ? 'network' : 'local'
  return { name: readName(wanted.name) ?? handle, handle, status, cores, ram, diskSize, storageType }
}

function demandRange(field: string, value: number, min: number, max: number, unit = ''): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw invalid(field, `must be a whole number${unit} from ${min} to ${max}`)
}
