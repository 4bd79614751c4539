import { type TSchema, Type } from 'typebox'
import { MiB } from '#base/bytes.ts'

/** Text in one line: names end up in tables and headers. `x-rule` is what a refusal says. */
const ONE_LINE = { pattern: '^[^\\u0000-\\u001f\\u007f]*$', 'x-rule': 'must not contain control characters' }

export const line = (maxLength: number, description: string) =>
  Type.String({ maxLength, description, ...ONE_LINE })

export const nullableLine = (maxLength: number, description: string) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], maxLength, description, ...ONE_LINE })

export const nullableString = (description?: string, maxLength?: number) =>
  Type.Unsafe<string | null>({
    type: ['string', 'null'],
    ...(description === undefined ? {} : { description }),
    ...(maxLength === undefined ? {} : { maxLength }),
  })

export const nullableNumber = (description: string) =>
  Type.Unsafe<number | null>({ type: ['number', 'null'], minimum: 0, description })

export const nullableInteger = (description: string, maximum?: number) =>
  Type.Unsafe<number | null>({
    type: ['integer', 'null'],
    minimum: 0,
    ...(maximum === undefined ? {} : { maximum }),
    description,
  })

export const integer = (description: string) => Type.Integer({ minimum: 0, description })

/** A closed set of words: clients in Go refuse a whole list over one word that they do not know. */
export const oneOf = <const T extends readonly string[]>(words: T, description?: string) =>
  Type.Unsafe<T[number]>({
    type: 'string',
    enum: words,
    ...(description === undefined ? {} : { description }),
  })

/** An object or null. A type list rather than a union, because generators of clients read it better. */
export const nullable = <T>(schema: TSchema) => Type.Unsafe<T | null>({ ...schema, type: ['object', 'null'] })

export const time = (description?: string) =>
  Type.String({ format: 'date-time', ...(description === undefined ? {} : { description }) })

export const nullableTime = (description: string) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description })

export const id = (prefix: string) =>
  Type.String({ pattern: `^${prefix}-[0-9a-z]{5}$`, description: `\`${prefix}-\` and five of 0-9a-z` })

/** `id`, `resource_type` and `url`, which begin every object of the API. */
export const identity = <const T extends string>(prefix: string, type: T) => ({
  id: id(prefix),
  resource_type: Type.Literal(type),
  url: Type.String({ description: 'where this object is read' }),
})

/** Milliseconds since 1970 as RFC 3339 in UTC with `Z`, the only form that every client reads alike. */
export const printTime = (ms: number): string => new Date(ms).toISOString()

export const printNullableTime = (ms: number | null): string | null => (ms === null ? null : printTime(ms))

/** Whole MiB, rounded up, so that anything made to measure is never too small. */
export const printMebibytes = (bytes: number): number => Math.ceil(bytes / MiB)

/** Makes the absolute address of an object; `base` is scheme and host as the client reached us. */
export const urlOf = (base: string, collection: string, key: string): string =>
  `${base}/1.0/${collection}/${key}`
