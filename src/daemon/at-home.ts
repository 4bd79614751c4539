import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import { MOVING } from '#control/catalog/rows.ts'

/** What is said of a catalog that is not, or no longer, a library's. */
export type Moving =
  /** It is being filled, from a backup or another library, and not whole. */
  | { readonly state: 'filling'; readonly from: string }
  /** What was in it is elsewhere now. */
  | { readonly state: 'left'; readonly to: string }

type Settings = Pick<Tables, 'settings'>

export async function readMoving({ settings }: Settings): Promise<Moving | undefined> {
  const text = await settings.get(MOVING)
  return text === undefined || text === '' ? undefined : (JSON.parse(text) as Moving)
}

/** @param moving undefined where the catalog is a library's again */
export async function writeMoving({ settings }: Settings, moving: Moving | undefined): Promise<void> {
  await settings.set(MOVING, moving ? JSON.stringify(moving) : '')
}

/** @throws conflict where the library has moved away, or has not wholly come */
export async function demandAtHome(catalog: Settings): Promise<void> {
  const moving = await readMoving(catalog)
  if (!moving) return
  const [message, hint] =
    moving.state === 'left'
      ? [`it has moved to ${moving.to}`, `start it there: image-library serve with ${moving.to}`]
      : [
          `it has not wholly come from ${moving.from}`,
          'run the command that was filling it again, to its end',
        ]
  throw new LibraryError('conflict', `use the library: ${message}`, { hint })
}
