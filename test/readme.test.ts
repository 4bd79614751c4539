import assert from 'node:assert/strict'
import { glob, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { startDaemon } from './support/daemon.ts'
import { startFileServer } from './support/file-server.ts'
import { needs } from './support/tools.ts'
import { normalise, root, runTour, stepsOf } from './support/tour.ts'

test(
  'README: the tour prints what it says',
  needs('bash', 'cmp', 'grep', 'gzip', 'lz4', 'qemu-img'),
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'readme-'))
    try {
      await using daemon = await startDaemon()
      await using files = await startFileServer(folder)
      const replace = (command: string) => command.replace('http://127.0.0.1:8000/', files.url(''))
      await runTour({ page: 'README.md', daemon, folder, replace })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
)

for (const [page, tools] of [
  ['docs/guides/orbit.md', needs('bash', 'cmp', 'curl', 'grep', 'swift')],
  ['docs/guides/large-images.md', needs('bash', 'grep')],
] as const) {
  test(`${page}: the tour prints what it says`, tools, async () => {
    await using daemon = await startDaemon()
    const [CLIENT = ''] = /cli-\w{5}/.exec(daemon.output()) ?? []
    const [, SECRET = ''] = /secret (\w+)/.exec(daemon.output()) ?? []
    await runTour({ page, daemon, environment: { ORBIT: daemon.url, CLIENT, SECRET } })
  })
}

test('README: the library says what it says on a new folder', async () => {
  await using daemon = await startDaemon({ arguments: ['--sftp', '127.0.0.1:0'] })
  const [start] = await stepsOf('README.md', 'start')
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
