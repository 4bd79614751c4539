import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

/**
 * Mounts a disk of so many MiB, in memory, at a folder that it makes. Whoever asks unmounts it.
 * @returns false where that is not allowed: only root may
 */
export function mountSmallDisk(path: string, mib: number): boolean {
  if (process.getuid?.() !== 0) return false
  try {
    mkdirSync(path)
    const words = ['-t', 'tmpfs', '-o', `size=${mib}m,mode=0755`, 'tmpfs', path]
    execFileSync('mount', words, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
