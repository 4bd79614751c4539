import type { Files } from './files.ts'

/** Asked of a login: its number comes first. */
type OfLogin<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R
    ? (login: number, ...args: A) => R
    : never
}

/** What the main process answers to those that have connections. */
export interface Desk extends OfLogin<Omit<Files, 'extend' | 'release'>> {
  /** @returns the number of a login; undefined where the credentials are not right, or it has too many already */
  loginByPassword(user: string, password: string, address: string): Promise<number | undefined>
  /** To be asked once the client has proved to have the private key. @param key as SSH sends it */
  loginByKey(user: string, key: Uint8Array, address: string): Promise<number | undefined>
  /** Whether it is worth a client's while to prove that it has the private key. */
  knowsKey(user: string, key: Uint8Array): Promise<boolean>
  /** Resolves when a login is none any more, whoever ended it. */
  untilOver(login: number): Promise<void>
  logout(login: number): Promise<void>
  /** Keeps what is written from now on from collection, until released. */
  keep(): Promise<number>
  extend: Files['extend']
  release: Files['release']
}

/** Nothing else can be asked for. */
export const DESK_METHODS = [
  'loginByPassword',
  'loginByKey',
  'knowsKey',
  'untilOver',
  'logout',
  'keep',
  'release',
  'listContainers',
  'list',
  'showContainer',
  'makeContainer',
  'removeContainer',
  'look',
  'namesUnder',
  'locate',
  'hold',
  'extend',
  'publish',
  'setMetadata',
  'remove',
  'rename',
  'usage',
] as const satisfies readonly (keyof Desk)[]

/** The files of one login, asked of the desk. */
export function filesOf(desk: Desk, login: number): Files {
  return {
    listContainers: (...args) => desk.listContainers(login, ...args),
    list: (...args) => desk.list(login, ...args),
    showContainer: (...args) => desk.showContainer(login, ...args),
    makeContainer: (...args) => desk.makeContainer(login, ...args),
    removeContainer: (...args) => desk.removeContainer(login, ...args),
    look: (...args) => desk.look(login, ...args),
    namesUnder: (...args) => desk.namesUnder(login, ...args),
    locate: (...args) => desk.locate(login, ...args),
    release: (lease) => desk.release(lease),
    hold: (...args) => desk.hold(login, ...args),
    extend: (...args) => desk.extend(...args),
    publish: (...args) => desk.publish(login, ...args),
    setMetadata: (...args) => desk.setMetadata(login, ...args),
    remove: (...args) => desk.remove(login, ...args),
    rename: (...args) => desk.rename(login, ...args),
    usage: (...args) => desk.usage(login, ...args),
  }
}
