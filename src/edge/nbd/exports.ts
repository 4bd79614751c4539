import { LibraryError } from '#base/errors.ts'
import type { ExportedDisk } from '#data/content/exported-disk.ts'

/** What one listener offers to one connection. */
export interface Exports {
  /** Names that anybody may know; undefined where names are secret. */
  list(): readonly string[] | undefined
  /** @throws LibraryError, whose message the client is told */
  open(name: string): Promise<OpenExport>
}

/** A disk that a connection reads; disposing of it gives back all that was taken for it. */
export interface OpenExport extends AsyncDisposable {
  readonly disk: ExportedDisk
}

/** Opens the disk of a manifest, which somebody else keeps from collection. */
export type OpenDisk = (manifest: string) => Promise<ExportedDisk>

/** One disk under some names, which are told to everybody. The first name is what the list says. */
export function exportsOfOne(names: readonly string[], open: () => Promise<OpenExport>): Exports {
  return {
    list: () => names.slice(0, 1),
    async open(name) {
      if (!names.includes(name)) throw noSuchExport()
      return await open()
    },
  }
}

export const noSuchExport = (): LibraryError =>
  new LibraryError('not_found', 'open an export: there is none of this name that you may read')
