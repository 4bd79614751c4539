/**
 * Runs the library for development: on a folder of its own, with loopback sources allowed, restarted on every change.
 * `rm -r .cache/dev` begins anew; further flags are handed to `serve`.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const data = join(root, '.cache/dev')
const serve = ['serve', '--data', data, '--allow-source', '127.0.0.0/8', ...process.argv.slice(2)]
const watch = ['--watch', `--watch-path=${join(root, 'src')}`, '--watch-preserve-output']
const child = spawn(process.execPath, [...watch, join(root, 'src/daemon/main.ts'), ...serve], {
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code) => process.exit(code ?? 0))
