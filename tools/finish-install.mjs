// npm on an older Node silently leaves out optional binaries that ask for a newer one. The Node 24 that
// this project brings along is installed by then, so the install is finished with it.
import { spawnSync } from 'node:child_process'

const outer = Number(/node\/v(\d+)/.exec(process.env.npm_config_user_agent ?? '')?.[1] ?? 24)
const inner = Number(process.versions.node.split('.')[0])
if (outer < 24 && inner >= 24 && !process.env.FINISHING_INSTALL && process.env.npm_execpath) {
  const result = spawnSync(
    process.execPath,
    [process.env.npm_execpath, 'install', '--no-save', '--no-audit', '--no-fund'],
    { stdio: 'inherit', env: { ...process.env, FINISHING_INSTALL: '1' } },
  )
  process.exit(result.status ?? 1)
}
