import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '#base/sync-folder.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { unlessMissing } from '#data/store/storage-errors.ts'

/** How far a base is filled. */
export interface FillProgress {
  /** Of the disk that is copied. */
  readonly manifest: string
  /** Bytes of the disk that are on stable storage: whole blocks from its start on. */
  readonly done: number
}

const progressOf = (path: string) => `${path}.progress`

/** What was remembered of a base; undefined where that is nothing, or nothing of use. */
export async function readProgress(path: string): Promise<FillProgress | undefined> {
  const text = await unlessMissing(readFile(progressOf(path), 'utf8'))
  try {
    const { manifest, done } = JSON.parse(text ?? '{}')
    const isWhole = Number.isSafeInteger(done) && done >= 0 && done % BLOCK_SIZE === 0
    return typeof manifest === 'string' && isWhole ? { manifest, done } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Replaces what is remembered; a crash at any moment leaves the one or the other. */
export async function saveProgress(path: string, progress: FillProgress): Promise<void> {
  const unfinished = `${progressOf(path)}.new`
  await writeFile(unfinished, JSON.stringify(progress), { flush: true })
  await rename(unfinished, progressOf(path))
}

/** Forgets what was remembered, for good: no crash brings it back. */
export async function forgetProgress(path: string): Promise<void> {
  await rm(progressOf(path), { force: true })
  await rm(`${progressOf(path)}.new`, { force: true })
  await syncFolder(dirname(path))
}
