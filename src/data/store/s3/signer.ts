import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import type { S3Address, S3Credentials } from './place.ts'

/** A request as it is signed: nothing of it may change afterwards. */
export interface Signable {
  readonly method: string
  /** With escapes, as it is sent. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

export interface Signer {
  /** @returns the headers to send: those given, and what proves who asks */
  sign(request: Signable, at: Date): Promise<Record<string, string>>
}

/** Node's own SHA-256, in the form that the signing package asks for. */
class Sha256 {
  readonly #hash: Hash | Hmac

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', asKey(secret))
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {}
}

function asKey(secret: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof secret === 'string') return secret
  return secret instanceof ArrayBuffer
    ? new Uint8Array(secret)
    : new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
}

/**
 * Signs by AWS Signature Version 4, payload included: `headers` has its SHA-256 as `x-amz-content-sha256`.
 * @param credentials asked for at each request, for they may be renewed meanwhile
 */
export function createSigner(
  { endpoint, region }: S3Address,
  credentials: () => Promise<S3Credentials>,
): Signer {
  const { protocol, hostname, port, host } = new URL(endpoint)
  const signature = new SignatureV4({
    service: 's3',
    region,
    // S3 alone escapes a path once.
    uriEscapePath: false,
    applyChecksum: false,
    sha256: Sha256,
    credentials: async () => {
      const { accessKeyId, secretAccessKey, sessionToken } = await credentials()
      return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
    },
  })
  return {
    async sign({ method, path, query, headers }, at) {
      const request = {
        method,
        protocol,
        hostname,
        ...(port === '' ? {} : { port: Number(port) }),
        path,
        query: { ...query },
        headers: { ...headers, host },
      }
      const signed = await signature.sign(request, { signingDate: at })
      return signed.headers
    },
  }
}
