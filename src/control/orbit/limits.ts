import { isUtf8 } from 'node:buffer'
import type { Metadata, ObjectPath } from '#model/orbit.ts'
import { type MetadataChange, OrbitRefusal } from './orbit.ts'

/** What Swift's clients may reckon with, as `/info` announces it; lengths are bytes. */
export const LIMITS = {
  containerName: 256,
  objectName: 1024,
  metadataName: 128,
  metadataValue: 256,
  metadataCount: 90,
  metadataSize: 4096,
  objectSize: 5 * 1024 ** 3 + 2,
  page: 10_000,
} as const

/** @throws invalid, too long a name */
export function checkNames({ container, object = '' }: Pick<ObjectPath, 'container'> & { object?: string }) {
  checkName('Container', container, LIMITS.containerName)
  checkName('Object', object, LIMITS.objectName)
}

function checkName(what: string, name: string, limit: number): void {
  const length = Buffer.byteLength(name)
  if (length > limit) throw invalid(`${what} name length of ${length} longer than ${limit}`)
}

/** @throws too_large */
export function checkSize(bytes: number): void {
  if (bytes > LIMITS.objectSize) throw new OrbitRefusal('too_large', 'Your request is too large.')
}

/** Checks what a request says of an object. @throws invalid */
export function checkObjectMetadata(metadata: Metadata): void {
  checkEntries('object', metadata)
  checkTotal(metadata)
}

/**
 * What becomes of the metadata of an account or a container.
 * @throws invalid where a value is, or all together would be too much
 */
export function mergeMetadata(
  kind: 'account' | 'container',
  old: Metadata,
  change: MetadataChange,
): Metadata {
  const given = Object.entries(change).filter((entry): entry is [string, string] => entry[1] !== null)
  checkEntries(kind, Object.fromEntries(given))
  const texts = given.flat().map((text) => Buffer.from(text, 'latin1'))
  if (!texts.every((bytes) => isUtf8(bytes))) throw invalid('Metadata must be valid UTF-8')
  const merged = new Map(Object.entries(old))
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === '') merged.delete(name)
    else merged.set(name, value)
  }
  const metadata = Object.fromEntries(merged)
  checkTotal(metadata)
  return metadata
}

function checkEntries(kind: 'account' | 'container' | 'object', metadata: Metadata): void {
  for (const [name, value] of Object.entries(metadata)) {
    if (name === '') throw invalid('Metadata name cannot be empty')
    const header = `x-${kind}-meta-${name}`
    if (name.length > LIMITS.metadataName) throw invalid(`Metadata name too long: ${header}`)
    if (value.length > LIMITS.metadataValue)
      throw invalid(`Metadata value longer than ${LIMITS.metadataValue}: ${header}`)
  }
}

function checkTotal(metadata: Metadata): void {
  const entries = Object.entries(metadata)
  if (entries.length > LIMITS.metadataCount)
    throw invalid(`Too many metadata items; max ${LIMITS.metadataCount}`)
  const size = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (size > LIMITS.metadataSize) throw invalid(`Total metadata too large; max ${LIMITS.metadataSize}`)
}

export const invalid = (message: string): OrbitRefusal => new OrbitRefusal('invalid', message)
