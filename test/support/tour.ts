import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Daemon } from './daemon.ts'

/**
 * Documents are run as they are printed. Code blocks marked `console tour` hold commands after `$ ` and what they
 * print; one shell runs all commands of a page, in a folder of its own.
 */
export interface Step {
  readonly command: string
  readonly printed: string
}

export const root = join(import.meta.dirname, '..', '..')

/** @param page path of the document below the project */
export async function stepsOf(page: string, mark: string): Promise<Step[]> {
  const text = await readFile(join(root, page), 'utf8')
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`console ${mark}\n(.*?)\n\`\`\`$`, 'gms'))]
  return blocks.flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...lines] = step.split('\n')
        // A command that ends in a backslash goes on in the next line.
        const parts = [command]
        while (parts.at(-1)?.endsWith('\\') && lines.length > 0) parts.push(lines.shift() ?? '')
        return { command: parts.join('\n'), printed: lines.join('\n') }
      }),
  )
}

const ID = /\b(?:acc|cli|evt|img|key|srv|vol)-[0-9a-z]{5}\b/g

/** What differs from run to run: ids, times, ports, secrets, speed, and how gzip packed. Bars and blank lines go. */
export const normalise = (output: string): string =>
  output
    .replace(ID, 'ID')
    .replace(/\d{6}_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ/g, 'SNAPSHOT')
    .replace(/\b\d+\.\d s$/gm, 'SECONDS')
    .replace(/\d{4}-\d\d-\d\d(?:T\d\d:\d\dZ| \d\d:\d\d)?/g, 'TIME')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replace(/(secret|password) \w+/g, '$1 SECRET')
    .replace(/SHA256:[\w+/]+/g, 'FINGERPRINT')
    .replace(/[\d.]+ [KMG]iB\/s/g, 'RATE')
    .replace(/"sha256": "\w{64}"/g, 'SHA256')
    // A registration may have ended before the table is printed.
    .replace(/\b(?:creating +0|private +64) /, 'STATUS ')
    .replace(/-{20,}/g, '----')
    .replace(/ {2,}/g, '  ')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !/^(?:Registering|Uploading|Downloading) /.test(line))
    .join('\n')

export interface TourOptions {
  readonly page: string
  /** What the blocks of this tour are marked with; `tour` by default. */
  readonly mark?: string
  readonly daemon: Daemon
  /** Where the commands run; a new folder by default. */
  readonly folder?: string
  readonly environment?: Readonly<Record<string, string>>
  /** What stands in the page for addresses that differ here. */
  readonly replace?: (command: string) => string
  /** The other way round, in what is printed. */
  readonly replaceBack?: (output: string) => string
}

const unchanged = (text: string): string => text

/** Runs a page and compares what its commands print with what it says. */
export async function runTour(options: TourOptions): Promise<void> {
  const {
    page,
    mark = 'tour',
    daemon,
    environment = {},
    replace = unchanged,
    replaceBack = unchanged,
  } = options
  const steps = await stepsOf(page, mark)
  assert.ok(steps.length > 2, `${page}: the tour was found`)
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'tour-')))
  await using shell = startShell(folder, { ...environment, BRIGHTBOX_CONFIG: daemon.config })
  /** The ids that stand in the page, by those that came instead. */
  const ids = new Map<string, string>()
  try {
    for (const { command, printed } of steps) {
      const output = await shell.run(replace(command).replace(ID, (id) => ids.get(id) ?? id))
      const came = output.match(ID) ?? []
      for (const [index, id] of (printed.match(ID) ?? []).entries()) ids.set(id, came[index] ?? id)
      assert.equal(normalise(replaceBack(output)), normalise(printed), `${page}: $ ${command}`)
    }
  } finally {
    if (!options.folder) await rm(folder, { recursive: true, force: true })
  }
}

/** One shell that keeps its variables from command to command. */
function startShell(cwd: string, environment: Readonly<Record<string, string>>) {
  const path = [join(root, 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter)
  const env = { ...process.env, ...environment, PATH: path }
  const shell = spawn('bash', { cwd, env, stdio: ['pipe', 'pipe', 'inherit'] })
  let output = ''
  let look = () => {}
  shell.stdout.setEncoding('utf8').on('data', (chunk) => {
    output += chunk
    look()
  })
  shell.stdin.write('exec 2>&1\n')
  return {
    async run(command: string): Promise<string> {
      const end = `end ${randomUUID()}\n`
      output = ''
      shell.stdin.write(`{ ${command}\n} < /dev/null\nprintf '%s\\n' '${end.trim()}'\n`)
      await new Promise<void>((resolve, reject) => {
        shell.once('exit', () => reject(new Error(`the shell ended: $ ${command}\n${output}`)))
        look = () => output.endsWith(end) && resolve()
        look()
      })
      shell.removeAllListeners('exit')
      return output.slice(0, -end.length)
    },
    async [Symbol.asyncDispose]() {
      shell.stdin.end()
      if (shell.exitCode === null && shell.signalCode === null) await once(shell, 'exit')
    },
  }
}
