/** A public key that its owner logs in to the SFTP service with. */
export interface SshKey {
  readonly id: string
  /** A user (`usr-xxxxx`) or an API client (`cli-xxxxx`). */
  readonly ownerId: string
  /** As in the first word of its line: `ssh-ed25519`. */
  readonly type: string
  /** The key as SSH sends it, in base64: the second word of its line. */
  readonly blob: string
  /** `SHA256:` and 43 characters, as ssh-keygen prints it. */
  readonly fingerprint: string
  readonly name: string | null
  readonly createdAt: number
}
