import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..', '..')
const script = join(root, '..', 'shared', 'corpus', 'make-corpus.sh')

/** The image corpus that may lie beside a checkout; the project's own tests do not need it. */
export const hasCorpus = existsSync(script)

export interface Corpus {
  readonly folder: string
  readonly valid: { readonly file: string; readonly size: number; readonly sha256: string }[]
  readonly sparse: { readonly file: string; readonly size: number; readonly extents: SparseExtent[] }[]
  readonly hostile: {
    readonly file: string
    readonly categories: string[]
    readonly limit: string
    readonly note: string
  }[]
}

export interface SparseExtent {
  readonly offset: number
  readonly length: number
  readonly sha256: string
}

const rows = async (path: string) =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => line.split('\t'))

/** Makes the corpus, or finds it made, and reads what it expects. */
export async function openCorpus(): Promise<Corpus> {
  const folder = join(root, '.cache', 'corpus')
  await promisify(execFile)('bash', [script, folder], { maxBuffer: 1 << 24 })
  return {
    folder,
    valid: (await rows(join(folder, 'expected.tsv'))).map(([file = '', , size, sha256 = '']) => ({
      file,
      size: Number(size),
      sha256,
    })),
    sparse: (await rows(join(folder, 'expected-sparse.tsv'))).map(([file = '', , size, extents = '']) => ({
      file,
      size: Number(size),
      extents: extents.split(';').map((extent) => {
        const [, offset, length, sha256 = ''] = /^(\d+)\+(\d+)=(\w+)$/.exec(extent) ?? []
        return { offset: Number(offset), length: Number(length), sha256 }
      }),
    })),
    hostile: (await rows(join(folder, 'expected-reject.tsv'))).map(
      ([file = '', category = '', limit = '-', note = '']) => ({
        file,
        categories: category.split('|'),
        limit,
        note,
      }),
    ),
  }
}
