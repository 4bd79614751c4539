import type { Dispatcher } from 'undici'
import { notHttp } from './response-failure.ts'

export interface ResponseHead {
  readonly status: number
  /** Bytes of the body, where the server says. */
  readonly length: number | undefined
  /**
   * A header's value; undefined where it is missing, given twice, or not printable ASCII (`location`: any bytes).
   * `content-encoding` is whatever was given, all of it, so that no coding can hide.
   */
  header(name: string): string | undefined
}

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]

/** @throws SourceFailure where the body is in a coding that would change its bytes unseen */
export function readHead(status: number, headers: Headers): ResponseHead {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && String(coding).trim().toLowerCase() !== 'chunked') throw notHttp()
  const header = (name: string) => {
    const value = Object.hasOwn(headers, name) ? headers[name] : undefined
    if (name === 'content-encoding') return value?.toString()
    if (typeof value !== 'string') return undefined
    return name === 'location' || /^[\x20-\x7e]*$/.test(value) ? value.trim() : undefined
  }
  const length = header('content-length')
  return { status, length: length === undefined ? undefined : Number(length), header }
}
