import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { addAccount, addUser, firstUser, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { execute } from '../support/registration.ts'
import { isInstalled, needs } from '../support/tools.ts'

const SIZE = 5_000_000

describe('sftp', needs('sftp', 'sshpass', 'lftp', 'cmp'), () => {
  let folder: string
  let daemon: Daemon
  let owner: OrbitUser
  let options: string[]
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sftp-'))
    daemon = await startDaemon({ arguments: ['--sftp', '127.0.0.1:0'] })
    owner = await firstUser(daemon)
    options = ['StrictHostKeyChecking=no', `UserKnownHostsFile=${join(folder, 'hosts')}`, 'LogLevel=ERROR']
      .concat([`Port=${sftpPort(daemon)}`, 'NumberOfPasswordPrompts=1'])
      .flatMap((option) => ['-o', option])
    await writeFile(join(folder, 'bytes'), randomBytes(SIZE))
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** Runs a batch of commands; one that fails ends it, unless it begins with a minus. */
  async function batch(commands: readonly string[], user = owner.user, key = owner.key) {
    const words = ['-e', 'sftp', ...options, '-oBatchMode=no', '-b', '-', '-o', `User=${user}`, '127.0.0.1']
    const child = spawn('sshpass', words, { cwd: folder, env: { PATH: process.env.PATH, SSHPASS: key } })
    child.stdin.end(`${commands.join('\n')}\n`)
    const [out, err, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number | null>((resolve) => child.on('close', resolve)),
    ])
    return { out: out.replaceAll(/^sftp> .*\n/gm, ''), err, code }
  }

  /** For a login without a password. */
  async function keyOptions(): Promise<string[]> {
    const key = join(folder, 'id')
    await rm(key, { force: true })
    await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    const line = { public_key: await readFile(`${key}.pub`, 'utf8') }
    const { status, body } = await daemon.api('POST', '/1.0/ssh_keys', line)
    assert.equal(status, 201, JSON.stringify(body))
    return [...options, '-oPreferredAuthentications=publickey', '-oBatchMode=yes', '-i', key]
  }

  async function run(...commands: string[]): Promise<string> {
    const { out, err, code } = await batch(commands)
    assert.equal(code, 0, `${out}${err}`)
    return out
  }

  async function fails(pattern: RegExp, ...commands: string[]): Promise<void> {
    const { out, err, code } = await batch(commands)
    assert.equal(code, 1, out)
    assert.match(err, pattern)
  }

  test('puts, lists, gets, renames and removes', async () => {
    const listed = await run(
      'mkdir one',
      'cd one',
      'put bytes',
      'mkdir dir',
      'put bytes dir/b',
      'pwd',
      'ls -l',
    )
    assert.match(listed, /Remote working directory: \/one\n/)
    assert.match(listed, /^-rw-r--r--\s+\S+\s+0\s+0\s+5000000 .* bytes$/m)
    assert.match(listed, /^drwxr-xr-x\s.* dir$/m)
    assert.match(await run('ls -1 /'), /images\s+.*\/?one/s)
    await run('get one/bytes back', 'get one/dir/b back2')
    await execute('cmp', [join(folder, 'bytes'), join(folder, 'back')])
    await execute('cmp', [join(folder, 'bytes'), join(folder, 'back2')])
    await run('rename one/bytes one/dir/moved', 'rename one/dir/moved one/dir/b')
    assert.equal((await owner.send('GET', '/one')).text.split('\n').includes('dir/moved'), false)
    await fails(/not found|No such/i, 'get one/bytes nothing')
    await fails(/Failure|not empty|rmdir/i, 'rmdir one/dir')
    await fails(/Failure/i, 'rmdir one')
    await run('rm one/dir/b', 'rmdir one/dir', 'rmdir one')
    await fails(/not found|No such/i, 'ls one')
  })

  test('keeps times, takes any mode, and a folder goes up and comes down', async () => {
    await mkdir(join(folder, 'tree/deep'), { recursive: true })
    await writeFile(join(folder, 'tree/a'), 'a')
    await writeFile(join(folder, 'tree/deep/ü b'), randomBytes(70_000))
    await utimes(join(folder, 'tree/a'), 1_600_000_000, 1_600_000_000)
    await run('mkdir two', 'put -pR tree two/', 'chmod 600 two/tree/a', 'df two', 'get -pR two/tree down')
    await execute('diff', ['-r', join(folder, 'tree'), join(folder, 'down')])
    assert.equal((await stat(join(folder, 'down/a'))).mtimeMs, 1_600_000_000_000)
    const { headers } = await owner.send('HEAD', '/two/tree/a')
    assert.match(String(headers['x-object-meta-mtime']), /^1600000000(\.0+)?$/)
  })

  test('goes on with downloads and uploads that broke off', async () => {
    await run('mkdir three', 'put bytes three/whole')
    await execute('cp', [join(folder, 'bytes'), join(folder, 'part')])
    await truncate(join(folder, 'part'), 1_234_567)
    await run('put part three/resumed', 'reput bytes three/resumed')
    await run('reget three/whole part', 'get three/resumed resumed')
    await execute('cmp', [join(folder, 'bytes'), join(folder, 'part')])
    await execute('cmp', [join(folder, 'bytes'), join(folder, 'resumed')])
    const { headers, body } = await owner.send('GET', '/three/resumed')
    assert.equal(Number(headers['content-length']), SIZE)
    assert.ok(body.equals(await readFile(join(folder, 'bytes'))), 'the same over HTTP')
  })

  test('a client that is killed during an upload leaves the old file', async () => {
    await run('mkdir four')
    assert.equal((await owner.send('PUT', '/four/file', { body: 'old' })).status, 201)
    await writeFile(join(folder, 'large'), randomBytes(64 << 20))
    const words = [...(await keyOptions()), '-l', '40000', '-b', '-', `${owner.user}@127.0.0.1`]
    const child = spawn('sftp', words, { cwd: folder, stdio: ['pipe', 'ignore', 'inherit'], detached: true })
    child.stdin.end('put large four/file\n')
    await delay(1500)
    assert.equal((await owner.send('GET', '/four/file')).text, 'old', 'while it is under way')
    process.kill(-(child.pid ?? 0), 'SIGKILL')
    await delay(300)
    assert.equal((await owner.send('GET', '/four/file')).text, 'old')
    await run('put bytes four/file')
    assert.equal((await owner.send('HEAD', '/four/file')).headers['content-length'], String(SIZE))
  })

  test('the images container can be read and nothing else', async () => {
    await fails(/denied/i, 'put bytes images/x')
    await fails(/denied|Failure/i, 'rmdir images')
    await fails(/denied|Failure/i, 'mkdir images/x')
    await run('ls images')
  })

  test('who may not, may not: passwords, storage clients, other accounts', async () => {
    assert.notEqual((await batch(['pwd'], owner.user, 'wrong')).code, 0)
    assert.notEqual((await batch(['pwd'], 'cli-00000', owner.key)).code, 0)
    const helper = await addUser(daemon, owner.account, 'storage')
    const stranger = await addUser(daemon, await addAccount(daemon), 'full')
    await run('mkdir five', 'put bytes five/b')
    const asHelper = (...commands: string[]) => batch(commands, helper.user, helper.key)
    const listed = await asHelper('ls')
    assert.deepEqual([listed.code, listed.out], [0, ''], listed.err)
    assert.match((await asHelper('get five/b stolen')).err, /denied|not found/i)
    assert.equal((await asHelper('mkdir mine')).code, 1)
    const list = { headers: { 'X-Container-Read': `${owner.account}:${helper.user}` } }
    assert.equal((await owner.send('POST', '/five', list)).status, 204)
    const got = await asHelper('cd five', 'ls', 'get b lent', '-put bytes mine')
    assert.deepEqual([got.code, /^b\s*$/m.test(got.out)], [0, true], got.err)
    assert.match(got.err, /denied/i)
    assert.equal((await asHelper('put bytes five/mine')).code, 1)
    const account = (suffix: string) => batch(['ls five'], `${stranger.user}${suffix}`, stranger.key)
    assert.notEqual((await account(`:${owner.account}`)).code, 0)
    assert.equal((await batch(['ls five'], `${owner.user}:${owner.account}`)).code, 0)
  })

  test('only the sftp subsystem: no shell, no command, no forwarding', async () => {
    const env = { PATH: process.env.PATH, SSHPASS: owner.key }
    for (const words of [['id'], ['-tt'], ['-N', '-R', '0:127.0.0.1:1', '-o', 'ExitOnForwardFailure=yes']]) {
      const last =
        words[0] === 'id' ? [`${owner.user}@127.0.0.1`, 'id'] : [...words, `${owner.user}@127.0.0.1`]
      const ended = spawnSync('sshpass', ['-e', 'ssh', ...options, ...last], {
        env,
        timeout: 10_000,
        input: '',
      })
      assert.notEqual(ended.status, 0, words.join(' '))
      assert.notEqual(ended.status, null, `${words.join(' ')} hangs`)
      assert.doesNotMatch(String(ended.stdout), /uid=/)
    }
  })

  test('keys of users open the door too', async () => {
    const words = [...(await keyOptions()), '-b', '-', `${owner.user}@127.0.0.1`]
    const ended = spawnSync('sftp', words, { input: 'ls\n', timeout: 20_000 })
    assert.equal(ended.status, 0, String(ended.stderr))
  })

  test('lftp mirrors up and down, on several connections', async () => {
    await mkdir(join(folder, 'site/sub'), { recursive: true })
    for (let n = 0; n < 30; n++)
      await writeFile(join(folder, `site/${n % 2 ? 'sub/' : ''}${n}`), randomBytes(n * 3000))
    const program = `ssh -a -x ${options.join(' ')}`
    const connect = `set sftp:auto-confirm yes; set net:max-retries 1; set sftp:connect-program "${program}"`
    const open = `open -u ${owner.user},${owner.key} sftp://127.0.0.1:${sftpPort(daemon)}`
    const lftp = (commands: string) =>
      execute('lftp', ['-c', `${connect}; ${open}; ${commands}`], {
        cwd: folder,
        env: { PATH: process.env.PATH, HOME: folder },
        timeout: 50_000,
      })
    await lftp('mkdir six; mirror -R -P 4 site six/site; mirror -P 4 six/site mirrored')
    await execute('diff', ['-r', join(folder, 'site'), join(folder, 'mirrored')])
    const { stdout } = await lftp('mirror -R --verbose=1 site six/site; find six')
    assert.match(stdout, /six\/site\/sub\/29/)
  })

  // Registered only where a file system may be mounted: elsewhere there is nothing to leave out.
  if (canMount()) {
    test('sshfs: edits in place, appends, truncates, moves over', async (t) => {
      const mount = join(folder, 'mount')
      await mkdir(mount)
      await run('mkdir seven')
      const words = [`${owner.user}@127.0.0.1:/seven`, mount, ...options, '-o', 'password_stdin,cache=no']
      const child = spawnSync('sshfs', words, { input: `${owner.key}\n`, timeout: 20_000 })
      assert.equal(child.status, 0, String(child.stderr))
      t.after(() => spawnSync('fusermount3', ['-u', '-z', mount]))
      const script = `set -e
        cp "$1/bytes" new; cmp new "$1/bytes"
        printf hello > f; printf ' world' >> f; test "$(cat f)" = 'hello world'
        printf J | dd of=f conv=notrunc status=none; test "$(cat f)" = 'Jello world'
        dd if=/dev/urandom of=patch bs=1000 count=100 status=none
        cp "$1/bytes" "$1/patched"
        for at in 0 1000 4000; do
          for to in new "$1/patched"; do dd if=patch of="$to" bs=1000 seek=$at conv=notrunc status=none; done
        done
        cmp new "$1/patched"
        truncate -s 1048577 new; truncate -s 1048577 "$1/patched"; cmp new "$1/patched"
        mkdir -p a/b; mv new a/b/c; printf x > a/b/d; mv a/b/c a/b/d; cmp a/b/d "$1/patched"
        ls -l a/b | grep -q d; rm a/b/d; rmdir a/b; rmdir a; df . > /dev/null`
      await execute('bash', ['-c', script, 'bash', folder], { cwd: mount, timeout: 50_000 })
    })
  }
})

/** Whether this machine lets us mount by FUSE. */
function canMount(): boolean {
  if (!isInstalled('sshfs') || !isInstalled('fusermount3')) return false
  const probe = spawnSync('python3', ['-c', 'import os; os.open("/dev/fuse", os.O_RDWR)'], {
    stdio: 'ignore',
  })
  return probe.status === 0
}
