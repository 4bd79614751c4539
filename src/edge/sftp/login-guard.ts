import { createCounts } from '#base/counts.ts'
import { LoginLimit } from '#control/auth/login-limit.ts'
import { networkOf } from '#control/auth/login-limits.ts'

export interface LoginGuardOptions {
  /** Connections of one user or API client at once. */
  readonly perLogin: number
  readonly now: () => number
}

/** Counts who comes in, and who tries to. */
export interface LoginGuard {
  /** Milliseconds until an address from which too many logins failed may connect again. */
  delayMs(address: string): number
  failed(address: string): void
  /** @returns what ends the visit; undefined where there are too many already */
  enter(principal: string, address: string): Disposable | undefined
}

/** For all processes together: the limits are those of the service. */
export function createLoginGuard({ perLogin, now }: LoginGuardOptions): LoginGuard {
  const failures = new LoginLimit({ now })
  const visits = createCounts(perLogin)
  return {
    delayMs: (address) => failures.delayMs(networkOf(address)),
    failed: (address) => failures.begin(networkOf(address)),
    enter(principal, address) {
      failures.succeeded(networkOf(address))
      return visits.enter(principal)
    },
  }
}
