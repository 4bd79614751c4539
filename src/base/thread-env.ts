import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'

/**
 * The environment of a thread that has to do with strangers' bytes: nothing of the process's own, where secrets may
 * stand, but where compiled programs are kept, without which each thread would start four times as slowly.
 */
export function threadEnv(): { readonly NODE_COMPILE_CACHE?: string } {
  const folder = getCompileCacheDir()
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) }
}
