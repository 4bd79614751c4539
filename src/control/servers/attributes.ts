import { invalid, readName } from '#control/library/attributes.ts'
import { DISK_SIZE_MAX } from '#model/server-type.ts'
import type { BuildAttributes, ServerUpdate } from './servers.ts'

/** As the clients limit it: of the text that is sent. */
const USER_DATA_MAX = 64 * 1024
const DEFAULT_TYPE = '1gb.ssd'

/** What a server is to be, with its fields checked one by one. */
export interface Wanted {
  readonly imageId: string
  /** MiB, where one was asked for. */
  readonly diskSize: number | undefined
  /** Ids or handles. */
  readonly type: string
  readonly zone: string | undefined
  readonly name: string
  readonly userData: string | null
  readonly compatibilityMode: boolean | undefined
}

export function readBuildAttributes(attributes: BuildAttributes): Wanted {
  refuseMissingFeatures(attributes)
  const { serverType, zone, compatibilityMode } = attributes
  return {
    ...readDisk(attributes),
    type: isGiven(serverType) ? serverType : DEFAULT_TYPE,
    zone: isGiven(zone) ? zone : undefined,
    name: readName(attributes.name) ?? '',
    userData: readUserData(attributes.userData),
    compatibilityMode: compatibilityMode ?? undefined,
  }
}

/** Only what is to change, checked. */
export function readServerUpdate({ name, userData, compatibilityMode }: ServerUpdate) {
  return {
    ...(name === undefined ? {} : { name: readName(name) ?? '' }),
    ...(userData === undefined ? {} : { userData: readUserData(userData) }),
    ...(compatibilityMode === undefined ? {} : { compatibilityMode }),
  }
}

/**
 * What a guest is handed of user data: the bytes that Base64 stands for, which may be broken into lines; else the text
 * itself. What cloud-init understands begins with `#` or has a colon early on, so the two are not mixed up.
 */
export function decodeUserData(text: string): Uint8Array {
  const joined = text.replace(/\s+/g, '')
  const isBase64 = joined.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(joined)
  return Buffer.from(isBase64 ? joined : text, isBase64 ? 'base64' : 'utf8')
}

/** An empty text stands for "not given", as everywhere in this API. */
const isGiven = (text: string | null | undefined): text is string =>
  text !== null && text !== undefined && text !== ''

function readDisk({ image, volumes }: BuildAttributes): Pick<Wanted, 'imageId' | 'diskSize'> {
  const list = volumes ?? []
  if (isGiven(image) === list.length > 0)
    throw invalid('image', 'or volumes must be given, exactly one of the two')
  if (isGiven(image)) return { imageId: image, diskSize: undefined }
  const [volume, ...more] = list
  if (!volume || more.length > 0) throw invalid('volumes', 'must have one entry')
  if (!isGiven(volume.image)) throw invalid('volumes', 'must name an image: volumes cannot be attached by id')
  const size = volume.size ?? undefined
  if (size !== undefined && !(Number.isInteger(size) && size > 0 && size <= DISK_SIZE_MAX)) {
    throw invalid('volumes', `must have a size that is a whole number of MiB from 1 to ${DISK_SIZE_MAX}`)
  }
  return { imageId: volume.image, diskSize: size }
}

function readUserData(text: string | null | undefined): string | null {
  if (!isGiven(text)) return null
  const bytes = Buffer.byteLength(text)
  if (bytes > USER_DATA_MAX)
    throw invalid('user_data', `must be at most ${USER_DATA_MAX} bytes, not ${bytes}`)
  return text
}

function refuseMissingFeatures({ diskEncrypted, cloudIp, serverGroups }: BuildAttributes): void {
  if (diskEncrypted) throw invalid('disk_encrypted', 'must be false: disks are not encrypted here')
  if (cloudIp === true || (typeof cloudIp === 'string' && cloudIp !== '' && cloudIp !== 'false')) {
    throw invalid('cloud_ip', 'must be left out: there are no cloud IPs here')
  }
  if (serverGroups && serverGroups.length > 0) {
    throw invalid('server_groups', 'must be empty: there are no server groups here')
  }
}
