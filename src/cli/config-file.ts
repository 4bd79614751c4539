import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CommandError } from './failure.ts'

interface Line {
  readonly section: string
  readonly text: string
  readonly key?: string
  readonly value?: string
}

/**
 * The sections and keys of the official client's configuration: `[section]`, `key = value`, comments after `;`.
 * Section names stay as they are, dots and all (they are often mail addresses). Lines that nobody changed are
 * written back untouched, comments too.
 */
export class ConfigFile {
  #lines: Line[]

  constructor(lines: readonly Line[] = []) {
    this.#lines = [...lines]
  }

  get sections(): string[] {
    return [...new Set(this.#lines.map((line) => line.section))].filter(Boolean)
  }

  get(section: string, key: string): string | undefined {
    return this.#lines.findLast((line) => line.section === section && line.key === key)?.value
  }

  set(section: string, key: string, value: string): void {
    if (/[\r\n]/.test(section + key + value)) throw new CommandError(`${key} must be one line`)
    const line = { section, key, value, text: `${key} = ${quote(value)}` }
    const index = this.#lines.findLastIndex((other) => other.section === section && other.key === key)
    if (index >= 0) this.#lines[index] = line
    else this.#append(line)
  }

  delete(section: string, key?: string): void {
    this.#lines = this.#lines.filter(
      (line) => line.section !== section || (key !== undefined && line.key !== key),
    )
  }

  toString(): string {
    return this.#lines.map((line) => `${line.text}\n`).join('')
  }

  #append(line: Line): void {
    // After the section's last key, since comments below that speak of the next section.
    let index = this.#lines.findLastIndex(
      (other) => other.section === line.section && (other.key !== undefined || /^\s*\[/.test(other.text)),
    )
    if (index < 0) {
      if (this.#lines.length > 0 && this.#lines.at(-1)?.text !== '') {
        this.#lines.push({ section: this.#lines.at(-1)?.section ?? '', text: '' })
      }
      index = this.#lines.push({ section: line.section, text: `[${line.section}]` }) - 1
    }
    this.#lines.splice(index + 1, 0, line)
  }
}

const quote = (value: string): string =>
  /^["\s;]|\s$|\s;/.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value

function unquote(text: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"\s*(?:;.*)?$/.exec(text)
  if (quoted) return (quoted[1] ?? '').replace(/\\(.)/g, '$1')
  return text.replace(/(^|\s+);.*$/, '')
}

/** @throws an error that names the line, where one is neither a section, a `key = value` nor a comment */
export function parseConfig(text: string, path: string): ConfigFile {
  let section = ''
  const lines = text.split(/\r?\n/).map((raw, index): Line => {
    const line = raw.trim()
    const header = /^\[([^\]]+)\]\s*(?:;.*)?$/.exec(line)?.[1]
    if (header !== undefined) {
      section = header.trim()
      return { section, text: raw }
    }
    if (line === '' || line.startsWith(';') || line.startsWith('#')) return { section, text: raw }
    const entry = /^([^=]+?)\s*=\s*(.*)$/.exec(line)
    if (!entry) {
      throw new CommandError(`read ${path}: line ${index + 1} is neither "[section]" nor "key = value"`, {
        hint: 'comments begin with ;',
      })
    }
    return { section, text: raw, key: entry[1] ?? '', value: unquote(entry[2] ?? '') }
  })
  if (lines.at(-1)?.text === '') lines.pop()
  return new ConfigFile(lines)
}

/** Reads a configuration; a file that does not exist is an empty one. */
export async function readConfig(path: string): Promise<ConfigFile> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return new ConfigFile()
    throw new CommandError(`read the configuration ${path}: ${describeErrno(cause)}`, { cause })
  }
  return parseConfig(text, path)
}

/** Replaces a file in one step; only its owner may read it, since it holds secrets. */
export async function writePrivate(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    throw new CommandError(`write ${path}: ${describeErrno(cause)}`, { cause })
  }
}

/** What the operating system said, in words. */
export function describeErrno(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  const words: Record<string, string> = {
    ENOENT: 'no such file or folder',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
    ENOSPC: 'no space left on the device',
    EROFS: 'the file system is read-only',
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'the connection was dropped',
    EPIPE: 'the connection was dropped',
    ENOTFOUND: 'the host name is not known',
    EAI_AGAIN: 'the host name could not be looked up',
    EHOSTUNREACH: 'the host cannot be reached',
    ENETUNREACH: 'the network cannot be reached',
    ETIMEDOUT: 'no answer in time',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is self-signed',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate cannot be verified',
    CERT_HAS_EXPIRED: 'its certificate has expired',
    ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  }
  return (code === undefined ? undefined : words[code]) ?? message
}
