import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Ids that no distribution, container or systemd gives to anybody (systemd's docs/UIDS-GIDS.md). */
const FIRST_ID = 0x7000_0000
const IDS = 0x0800_0000
/** Where a user namespace has no such ids. */
const NOBODY = 65_534
/** Capabilities to change group and user. */
const CAP_SETGID_SETUID = 0xc0n

/**
 * The Unix user and group, of one number, that a process which decodes becomes: one that nobody has, another for each.
 * @returns undefined where this process has no right to change users, which is then all the right it could lose
 */
export function unprivilegedId(
  random: (count: number) => number = randomInt,
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): number | undefined {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(read('/proc/self/status'))?.[1] ?? '0'
  if ((BigInt(`0x${capabilities}`) & CAP_SETGID_SETUID) !== CAP_SETGID_SETUID) return undefined
  const maps = [read('/proc/self/uid_map'), read('/proc/self/gid_map')].map(parseMap)
  const isMapped = (id: number) =>
    maps.every((ranges) => ranges.some(({ first, count }) => id >= first && id < first + count))
  return [FIRST_ID + random(IDS), NOBODY].find(isMapped)
}

const parseMap = (text: string): { first: number; count: number }[] =>
  text
    .trim()
    .split('\n')
    .map((line) => {
      const [first = 0, , count = 0] = line.trim().split(/\s+/).map(Number)
      return { first, count }
    })
