import { KiB } from '#base/bytes.ts'
import { CommandError } from './failure.ts'
import { readStart } from './local-file.ts'
import type { Session } from './session.ts'

export interface UserDataOptions {
  readonly userData?: string
  readonly userDataFile?: string
  readonly base64: boolean
}

/**
 * What a server's first boot is to read, as it is sent: in Base64 unless `--no-base64`.
 * @param limitKib of what is sent
 * @returns undefined where there is none
 */
export async function readUserData(
  { terminal }: Session,
  { userData, userDataFile: path, base64 }: UserDataOptions,
  limitKib: number,
): Promise<string | undefined> {
  if (userData !== undefined && path !== undefined) {
    throw new CommandError('Cannot specify user data on command line and in file at same time')
  }
  const limit = limitKib * KiB
  let bytes: Buffer | undefined
  if (userData !== undefined) bytes = Buffer.from(userData)
  else if (path !== undefined) bytes = await readStart(path === '-' ? terminal.stdin : path, limit + 1)
  if (path !== undefined && bytes !== undefined && bytes.length > limit) {
    throw new CommandError(`User data file too big (>${limitKib}k)`)
  }
  if (bytes === undefined || bytes.length === 0) return undefined
  const text = base64 ? encodeLines(bytes) : decodeText(bytes)
  if (Buffer.byteLength(text) > limit) throw new CommandError(`User data too big (>${limitKib}k)`)
  return text
}

/** Base64 in lines of 60 characters, as the official client sends it. */
const encodeLines = (bytes: Buffer): string => bytes.toString('base64').replace(/.{1,60}/g, '$&\n')

function decodeText(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new CommandError('user data without Base64 must be text in UTF-8', { cause })
  }
}

/** ` with 0.01k of user data`, for the line that says what is done. */
export const describeUserData = (text: string | undefined): string =>
  text === undefined ? '' : ` with ${(Buffer.byteLength(text) / KiB).toFixed(2)}k of user data`
