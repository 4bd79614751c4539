import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { execute } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

describe('rclone', needs('rclone', 'cmp'), () => {
  let folder: string
  let daemon: Daemon
  let owner: OrbitUser
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rclone-'))
    daemon = await startDaemon({ arguments: ['--sftp', '127.0.0.1:0'] })
    owner = await firstUser(daemon)
    const { stdout: obscured } = await execute('rclone', ['obscure', owner.key])
    await writeFile(
      join(folder, 'rclone.conf'),
      `[http]
type = swift
auth = ${owner.auth}
auth_version = 1
user = ${owner.user}
key = ${owner.key}
chunk_size = 2M

[ssh]
type = sftp
host = 127.0.0.1
port = ${sftpPort(daemon)}
user = ${owner.user}
pass = ${obscured.trim()}
shell_type = none
disable_hashcheck = true
`,
    )
    await mkdir(join(folder, 'tree/deep/er'), { recursive: true })
    for (const [name, size] of [
      ['empty', 0],
      ['small', 100],
      ['deep/block', 1 << 20],
      ['deep/er/ümlaut and space', 5000],
      ['deep/er/large', 7_000_001],
    ] as const) {
      await writeFile(join(folder, 'tree', name), randomBytes(size))
      await utimes(join(folder, 'tree', name), 1_700_000_000, 1_700_000_000 + size / 10)
    }
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function rclone(...words: string[]): Promise<string> {
    const usual = ['--config', 'rclone.conf', '--retries', '1', '--low-level-retries', '2']
    const { stdout, stderr } = await execute('rclone', [...usual, ...words], { cwd: folder })
    return stdout + stderr
  }

  for (const remote of ['http', 'ssh']) {
    const there = `${remote}:by-${remote}`

    test(`syncs and checks a folder over ${remote}, and has nothing to do then`, async () => {
      await rclone('mkdir', there)
      await rclone('sync', 'tree', there)
      await rclone('check', '--download', 'tree', there)
      assert.match(await rclone('sync', '-v', 'tree', there), /Transferred:\s+0 B|nothing to transfer/)
      await writeFile(join(folder, 'tree/small'), randomBytes(101))
      await rm(join(folder, 'tree/deep/block'))
      await rclone('sync', 'tree', there)
      await rclone('check', '--download', 'tree', there)
      await rclone('sync', there, `back-${remote}`)
      await execute('diff', ['-r', join(folder, 'tree'), join(folder, `back-${remote}`)])
      const before = await stat(join(folder, 'tree/deep/er/large'))
      const { mtimeMs } = await stat(join(folder, `back-${remote}/deep/er/large`))
      assert.ok(Math.abs(mtimeMs - before.mtimeMs) < 1000, `${mtimeMs}, ${before.mtimeMs}`)
      await writeFile(join(folder, 'tree/deep/block'), randomBytes(1 << 20))
    })

    test(`lists, moves, reads parts and removes over ${remote}`, async () => {
      await rclone('copyto', 'tree/deep/er/large', `${there}/box/large`)
      await rclone('moveto', `${there}/box/large`, `${there}/box/moved`)
      const rows = JSON.parse(await rclone('lsjson', `${there}/box`)) as { Name: string; Size: number }[]
      assert.deepEqual(
        rows.map(({ Name, Size }) => [Name, Size]),
        [['moved', 7_000_001]],
      )
      const { stdout } = await execute(
        'rclone',
        ['--config', 'rclone.conf', 'cat', '--offset', '2097150', '--count', '10', `${there}/box/moved`],
        { cwd: folder, encoding: 'buffer' },
      )
      const large = await readFile(join(folder, 'tree/deep/er/large'))
      assert.deepEqual(stdout, large.subarray(2_097_150, 2_097_160))
      await rclone('copy', `${there}/box`, `${there}/box2`)
      await rclone('purge', `${there}/box`)
      assert.doesNotMatch(await rclone('lsf', there), /^box\/$/m)
      await rclone('deletefile', `${there}/box2/moved`)
      await rclone('purge', there)
      assert.doesNotMatch(await rclone('lsd', `${remote}:`), new RegExp(`by-${remote}$`, 'm'))
    })
  }

  test('what one protocol wrote, the other reads', async () => {
    await rclone('copy', 'tree', 'ssh:both')
    await rclone('check', '--download', 'tree', 'http:both')
    await rclone('copy', 'tree', 'http:both2')
    await rclone('check', '--download', 'tree', 'ssh:both2')
  })
})
