import { brokenTarget } from './broken-target.ts'
import { importTarget } from './import-target.ts'
import { layerTarget } from './layer-target.ts'
import { nbdTarget } from './nbd-target.ts'
import { qcow2Target } from './qcow2-target.ts'
import { blockTarget, manifestTarget } from './stored-targets.ts'
import { gzipTarget, lz4Target, xzTarget, zstdTarget } from './stream-targets.ts'
import type { Target } from './target.ts'
import { probeTarget, wordsTarget } from './text-targets.ts'
import { sftpTarget, tarTarget } from './wire-targets.ts'

/** Every reader that is fuzzed. */
export const TARGETS: readonly Target[] = [
  qcow2Target,
  layerTarget,
  importTarget,
  lz4Target,
  xzTarget,
  gzipTarget,
  zstdTarget,
  probeTarget,
  manifestTarget,
  blockTarget,
  wordsTarget,
  nbdTarget,
  sftpTarget,
  tarTarget,
]

/** Also the one that is there to be found out. @throws Error that names all others */
export function targetNamed(name: string): Target {
  const found = [...TARGETS, brokenTarget].find((target) => target.name === name)
  if (!found)
    throw new Error(`no reader ${name}; there are ${TARGETS.map((target) => target.name).join(', ')}`)
  return found
}
