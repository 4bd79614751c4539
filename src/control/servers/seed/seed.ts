import { makeIso } from './iso9660.ts'

export interface SeedOptions {
  /** What cloud-init tells first boots by. */
  readonly instanceId: string
  readonly hostname: string
  /** One line each; any text is safe. */
  readonly sshKeys: readonly string[]
  /** As the guest is to find it; undefined for none. */
  readonly userData: Uint8Array | undefined
}

/** cloud-init looks for a file system of this name. */
const VOLUME_ID = 'cidata'
/** cloud-init wants the file, and does nothing for this. */
const NO_USER_DATA = Buffer.from('#cloud-config\n')

/**
 * Makes the disk that cloud-init's NoCloud source reads at a server's first boot, an ISO 9660 image; the same bytes for
 * the same options.
 * @see cloud-init documentation, "NoCloud"
 */
export function createSeed({ instanceId, hostname, sshKeys, userData }: SeedOptions): Uint8Array {
  const lines = [`instance-id: ${quote(instanceId)}`, `local-hostname: ${quote(hostname)}`]
  if (sshKeys.length > 0) lines.push('public-keys:', ...sshKeys.map((key) => `  - ${quote(key)}`))
  return makeIso(VOLUME_ID, [
    { name: 'meta-data', bytes: Buffer.from(`${lines.join('\n')}\n`) },
    { name: 'user-data', bytes: userData ?? NO_USER_DATA },
  ])
}

/** What JSON leaves as it is although YAML does not take it, or takes it for the end of a line. */
const NOT_IN_YAML = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g

/** Any text as a scalar of YAML: a string of JSON is one, where all of it can be printed. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    NOT_IN_YAML,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
