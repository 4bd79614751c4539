import { layerTarget } from './layer-target.ts'
import { qcow2Target } from './qcow2-target.ts'
import { gzipTarget, lz4Target, xzTarget, zstdTarget } from './stream-targets.ts'
import type { Target } from './target.ts'

/** Every reader that is fuzzed. */
export const TARGETS: readonly Target[] = [
  qcow2Target,
  layerTarget,
  lz4Target,
  xzTarget,
  gzipTarget,
  zstdTarget,
]

export function targetNamed(name: string): Target {
  const found = TARGETS.find((target) => target.name === name)
  if (!found)
    throw new Error(`no target ${name}; there are ${TARGETS.map((target) => target.name).join(', ')}`)
  return found
}
