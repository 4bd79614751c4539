import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where the specification stands. */
export const RIGHTS = join(import.meta.dirname, '..', '..', 'docs', 'rights.md')

export type Word = 'yes' | 'no' | 'hidden'

/** One cell: who may do this with that. */
export interface Right {
  readonly what: string
  readonly verb: string
  readonly role: string
  readonly word: Word
}

export interface RouteRight {
  readonly method: string
  /** As OpenAPI writes it. */
  readonly path: string
  readonly thing: string
  readonly verb: string
}

/** Reads the table below a heading: one object a row, by the names of the columns. */
function readTable(heading: string): Readonly<Record<string, string>>[] {
  const text = readFileSync(RIGHTS, 'utf8')
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  const [names = [], , ...rows] = lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  if (rows.length === 0) throw new Error(`docs/rights.md has no table below ${heading}`)
  return rows.map((row) => Object.fromEntries(names.map((name, index) => [name, row[index] ?? ''])))
}

function readRights(heading: string): Right[] {
  return readTable(heading).flatMap((row) => {
    const [what = '', verbs = '', ...words] = Object.values(row)
    const roles = Object.keys(row).slice(2)
    return split(what).flatMap((what) =>
      split(verbs).flatMap((verb) =>
        roles.map((role, index) => ({ what, verb, role, word: wordOf(words[index]) })),
      ),
    )
  })
}

const split = (cell: string): string[] => cell.split(',').map((part) => part.trim())

function wordOf(text: string | undefined): Word {
  if (text === 'yes' || text === 'no' || text === 'hidden') return text
  throw new Error(`docs/rights.md: ${text} must be yes, no or hidden`)
}

export const imageRights = (): Right[] => readRights('Images')
export const otherRights = (): Right[] => readRights('Everything else of the API')
export const orbitRights = (): Right[] => readRights('Orbit')

/** Whether a credential is let in at an edge. */
export const credentialRights = (): { credential: string; edge: string; word: Word }[] =>
  readTable('Credentials').flatMap(({ credential = '', ...edges }) =>
    Object.entries(edges).map(([edge, word]) => ({ credential, edge, word: wordOf(word) })),
  )

/** Whether a change ends what somebody has open. */
export const endings = (): { change: string; opened: string; ends: boolean }[] =>
  readTable('What ends what is open').flatMap(({ change = '', ...opened }) =>
    Object.entries(opened).map(([name, word]) => {
      if (word !== 'ends' && word !== 'goes on') throw new Error(`docs/rights.md: ${word} is no word`)
      return { change, opened: name, ends: word === 'ends' }
    }),
  )

/** What requests about several things need: verbs of Orbit. */
export const bulkRights = (): { request: string; source: string; target: string }[] =>
  readTable('Orbit in bulk').map((row) => ({
    request: row.request ?? '',
    source: row['of the source'] ?? '',
    target: row['of the target'] ?? '',
  }))

export const routeRights = (): RouteRight[] =>
  readTable('Routes').map(({ route = '', thing = '', verb = '' }) => {
    const [, method = '', path = ''] = /^`([A-Z]+) (\S+)`$/.exec(route) ?? []
    return { method, path, thing, verb }
  })

/** The one cell. @throws where the tables say nothing of it */
export function rightOf(rights: readonly Right[], what: string, verb: string, role: string): Word {
  const found = rights.filter((right) => right.what === what && right.verb === verb && right.role === role)
  const [right] = found
  if (!right || found.length > 1)
    throw new Error(`docs/rights.md says ${found.length} times who may: ${role} ${verb} ${what}`)
  return right.word
}
