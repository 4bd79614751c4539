import * as fs from 'node:fs/promises'

/** Has the names in a folder written to stable storage. */
export async function syncFolder(path: string, files: Pick<typeof fs, 'open'> = fs): Promise<void> {
  await using handle = await files.open(path, 'r')
  await handle.sync()
}
