import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'

/** A chain as QEMU opens it, every format stated; what headers say of backing files is not asked. */
export interface Chain {
  /** A raw file; undefined for none. */
  readonly base?: string | undefined
  /** Lowest first. */
  readonly layers: readonly string[]
}

function toNode({ base, layers }: Chain): object | null {
  const top = layers.at(-1)
  if (top === undefined) return base === undefined ? null : { driver: 'raw', file: toFile(base) }
  return {
    driver: 'qcow2',
    discard: 'unmap',
    file: toFile(top),
    backing: toNode({ base, layers: layers.slice(0, -1) }),
  }
}

const toFile = (filename: string) => ({ driver: 'file', filename })

export const chainName = (chain: Chain): string => `json:${JSON.stringify(toNode(chain))}`

export function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 })
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error ?? ''} ${stdout} ${stderr}`)
  return stdout
}

/** Runs commands of qemu-io, such as `write -P 7 0 64k`, on the top of a chain. */
export function writeTo(chain: Chain, ...commands: readonly string[]): void {
  // qemu-io ends well when a command fails.
  const said = run(
    'qemu-io',
    '-f',
    'qcow2',
    ...commands.flatMap((command) => ['-c', command]),
    chainName(chain),
  )
  assert.doesNotMatch(said, /failed|error|invalid/i, said)
}
