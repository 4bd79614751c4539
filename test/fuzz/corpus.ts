import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const CORPUS = join(import.meta.dirname, 'corpus')

/** The inputs kept for a target, in the order of their names. */
export function readCorpus(target: string): Uint8Array[] {
  const folder = join(CORPUS, target)
  return namesIn(folder).map((name) => readFileSync(join(folder, name)))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Writes an input to a folder, named by its content; returns the path. */
export function saveInput(folder: string, target: string, input: Uint8Array): string {
  mkdirSync(join(folder, target), { recursive: true })
  const path = join(folder, target, hash('sha256', input, 'hex').slice(0, 16))
  writeFileSync(path, input)
  return path
}

/** Adds an input to the corpus; returns its path. */
export function keepInput(target: string, input: Uint8Array): string {
  return saveInput(CORPUS, target, input)
}
