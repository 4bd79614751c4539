import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { glob, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { startDaemon } from './support/daemon.ts'
import { startFileServer } from './support/file-server.ts'
import { needs } from './support/tools.ts'

/**
 * The README's tour is run as it is printed. Code blocks marked `console tour` hold commands after `$ ` and what they
 * print; in `console start` stands what the library prints on a new folder.
 */
const root = join(import.meta.dirname, '..')
const readme = await readFile(join(root, 'README.md'), 'utf8')

interface Step {
  readonly command: string
  readonly printed: string
}

function stepsOf(mark: string): Step[] {
  const blocks = [...readme.matchAll(new RegExp(`^\`\`\`console ${mark}\n(.*?)\n\`\`\`$`, 'gms'))]
  return blocks.flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...lines] = step.split('\n')
        return { command, printed: lines.join('\n') }
      }),
  )
}

const ID = /\b(?:acc|cli|evt|img)-[0-9a-z]{5}\b/g

/** What differs from run to run: ids, times, ports, secrets, speed, and how gzip packed. Bars and blank lines go. */
const normalise = (output: string): string =>
  output
    .replace(ID, 'ID')
    .replace(/\d{4}-\d\d-\d\d(?:T\d\d:\d\dZ)?/g, 'TIME')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replace(/(secret|password) \w+/g, '$1 SECRET')
    .replace(/[\d.]+ [KMG]iB\/s/g, 'RATE')
    .replace(/"sha256": "\w{64}"/g, 'SHA256')
    // A registration may have ended before the table is printed.
    .replace(/\b(?:creating +0|private +64) /, 'STATUS ')
    .replace(/-{20,}/g, '----')
    .replace(/ {2,}/g, '  ')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !/^(?:Registering|Downloading) /.test(line))
    .join('\n')

async function run(command: string, cwd: string, config: string): Promise<string> {
  const path = [join(root, 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter)
  const child = spawn('bash', ['-c', `exec 2>&1; ${command}`], {
    cwd,
    env: { ...process.env, PATH: path, BRIGHTBOX_CONFIG: config },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  return output
}

const tools = needs('bash', 'cmp', 'grep', 'gzip', 'lz4', 'qemu-img')

test('README: the tour prints what it says', tools, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'readme-'))
  try {
    await using daemon = await startDaemon()
    await using files = await startFileServer(folder)
    /** The ids that stand in the README, by those that came instead. */
    const ids = new Map<string, string>()
    const steps = stepsOf('tour')
    assert.ok(steps.length > 10, 'the tour was found')
    for (const { command, printed } of steps) {
      const real = command
        .replace('http://127.0.0.1:8000/', files.url(''))
        .replace(ID, (id) => ids.get(id) ?? id)
      const output = await run(real, folder, daemon.config)
      const came = output.match(ID) ?? []
      for (const [index, id] of (printed.match(ID) ?? []).entries()) ids.set(id, came[index] ?? id)
      assert.equal(normalise(output), normalise(printed), `$ ${command}`)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('README: the library says what it says on a new folder', async () => {
  await using daemon = await startDaemon()
  const [start] = stepsOf('start')
  assert.ok(start)
  const said = daemon.output().replace(/^\{.*\n/gm, '')
  const shown = start.printed.replaceAll('/home/ada/image-library/data', daemon.data)
  assert.equal(normalise(said), normalise(shown))
})

test('README: every file that the documents link to is there', async () => {
  for await (const page of glob('{*.md,docs/**/*.md,examples/*.md}', { cwd: root })) {
    const content = await readFile(join(root, page), 'utf8')
    for (const [, target = ''] of content.matchAll(/\]\(([^)#:]+)(?:#[\w-]+)?\)/g)) {
      await assert.doesNotReject(stat(join(root, dirname(page), target)), `${page}: ${target}`)
    }
  }
})
