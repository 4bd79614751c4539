import { readFileSync } from 'node:fs'
import { LibraryError } from '#base/errors.ts'

/** A setting as it stands in the file, under `section.key`, or `key` before the first section. */
export interface FileSetting {
  readonly key: string
  readonly value: string
  /** Where, for messages. */
  readonly place: string
}

/**
 * Reads a settings file: `[section]`, `key = value`, comments on lines of their own that begin with `#` or `;`.
 * @throws invalid with the line, not_found
 */
export function readSettingsFile(path: string): FileSetting[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? ` (${cause.code})` : ''
    throw new LibraryError('not_found', `read the settings file ${path}${why}`, { cause })
  }
  return parseSettings(text, path)
}

export function parseSettings(text: string, path: string): FileSetting[] {
  const settings = new Map<string, FileSetting>()
  let section = ''
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const content = line.trim()
    const place = `${path}:${index + 1}`
    if (content === '' || content.startsWith('#') || content.startsWith(';')) continue
    const heading = /^\[([\w.]+)\]$/.exec(content)?.[1]
    if (heading !== undefined) {
      section = `${heading}.`
      continue
    }
    const [, name, value] = /^(\w+)\s*=\s*(.*)$/.exec(content) ?? []
    if (name === undefined || value === undefined) {
      throw new LibraryError('invalid', `${place}: this is neither "[section]" nor "key = value"`)
    }
    const key = section + name
    const first = settings.get(key)
    if (first) throw new LibraryError('invalid', `${place}: ${key} is set twice, first at ${first.place}`)
    settings.set(key, { key, value, place })
  }
  return [...settings.values()]
}
