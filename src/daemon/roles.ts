import type { Setting } from './setting-kinds.ts'

/**
 * What a process does of all that the library does: `api` the Image API, `orbit` and `sftp` object storage by either
 * protocol, `worker` registrations and upkeep, `servers` the servers of this machine and their disks.
 */
export const ROLES = ['api', 'orbit', 'sftp', 'worker', 'servers'] as const
export type Role = (typeof ROLES)[number]

export const roles: Setting<ReadonlySet<Role>> = {
  byDefault: ROLES.join(', '),
  rule: `one or more of ${ROLES.join(', ')}, separated by commas`,
  parse(text) {
    const words = text.split(/[\s,]+/).filter(Boolean)
    const known = ROLES.filter((role) => words.includes(role))
    const areAllKnown = words.every((word) => (ROLES as readonly string[]).includes(word))
    return known.length > 0 && areAllKnown ? { value: new Set(known) } : undefined
  },
}
