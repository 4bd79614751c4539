import type { FastifyRequest } from 'fastify'
import { LibraryError } from '#base/errors.ts'

/**
 * A parameter of the query string; undefined where it is absent or empty.
 * @throws invalid where it is given twice
 */
export function readQuery(request: FastifyRequest, name: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[name]
  if (value === undefined || value === '') return undefined
  if (typeof value !== 'string') throw new LibraryError('invalid', `${name} must be given once`)
  return value
}

/** @throws invalid where the parameter is not an integer from `min` to `max` */
export function readIntegerQuery(
  request: FastifyRequest,
  name: string,
  { min, max }: { readonly min: number; readonly max: number },
): number | undefined {
  const text = readQuery(request, name)
  if (text === undefined) return undefined
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    throw new LibraryError('invalid', `${name} must be an integer from ${min} to ${max}`)
  }
  return value
}

/** @throws invalid where the parameter is none of the words */
export function readWordQuery<const T extends string>(
  request: FastifyRequest,
  name: string,
  words: readonly T[],
): T | undefined {
  const text = readQuery(request, name)
  const word = words.find((word) => word === text)
  if (text !== undefined && word === undefined) {
    throw new LibraryError('invalid', `${name} must be one of ${words.join(', ')}`)
  }
  return word
}
