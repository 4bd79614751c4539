import type { Field, Random } from './target.ts'

/** The longest input: what a mutation makes longer is cut. */
export const MAX_INPUT = 1 << 20

const CHANGES = [
  flipBit,
  setByte,
  setField,
  setField,
  setField,
  copyWithin,
  remove,
  repeat,
  cut,
  splice,
  grow,
]

/** What a mutation may draw from. */
export interface Material {
  /** Of the input that is changed. */
  readonly fields: readonly Field[]
  readonly others: readonly Uint8Array[]
  readonly random: Random
}

/** Changes an input in one to four places; the input itself stays as it is. */
export function mutate(input: Uint8Array, material: Material): Uint8Array {
  const { random } = material
  // Not slice: that of a Buffer is the same memory.
  let changed: Uint8Array = new Uint8Array(input)
  for (let left = 1 + Math.floor(random() ** 2 * 4); left > 0; left--) {
    changed = pick(CHANGES, random)(changed, material)
  }
  return changed.subarray(0, MAX_INPUT)
}

export function pick<T>(items: readonly T[], random: Random): T {
  const item = items[below(items.length, random)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}

/** A whole number from 0 to below `limit`. */
export function below(limit: number, random: Random): number {
  return Math.floor(random() * limit)
}

/** Mostly near the start, where headers are. */
function place(length: number, random: Random): number {
  return Math.floor((random() < 0.5 ? random() : random() ** 4) * length)
}

function flipBit(input: Uint8Array, { random }: Material): Uint8Array {
  const at = place(input.length, random)
  input[at] = (input[at] ?? 0) ^ (1 << below(8, random))
  return input
}

function setByte(input: Uint8Array, { random }: Material): Uint8Array {
  input[place(input.length, random)] = pick([0, 1, 0x7f, 0x80, 0xff, below(256, random)], random)
  return input
}

/** Gives a number of the structure another value: a bound, a neighbour, another number's value. */
function setField(input: Uint8Array, material: Material): Uint8Array {
  const { fields, random } = material
  if (fields.length === 0) return setByte(input, material)
  const field = pick(fields, random)
  if (field.at + field.size > input.length) return input
  const old = readField(input, field)
  const bits = BigInt(field.size * 8)
  const power = 1n << BigInt(below(field.size * 8, random))
  const value = pick(
    [
      0n,
      1n,
      -1n,
      old + 1n,
      old - 1n,
      old * 2n,
      old / 2n,
      old ^ power,
      old + power,
      old - power,
      power,
      power - 1n,
      BigInt(input.length + below(3, random) - 1),
      readField(input, pick(fields, random)),
      BigInt(Math.floor(random() * 2 ** 48)),
    ],
    random,
  )
  writeField(input, field, BigInt.asUintN(Number(bits), value))
  return input
}

function readField(input: Uint8Array, { at, size, littleEndian }: Field): bigint {
  const bytes = [...input.subarray(at, at + size)]
  if (littleEndian) bytes.reverse()
  return bytes.reduce((value, byte) => value * 256n + BigInt(byte), 0n)
}

function writeField(input: Uint8Array, { at, size, littleEndian }: Field, value: bigint): void {
  for (let index = 0; index < size; index++) {
    const shift = BigInt(8 * (littleEndian ? index : size - 1 - index))
    input[at + index] = Number((value >> shift) & 255n)
  }
}

function range(length: number, random: Random): { start: number; end: number } {
  const start = place(length, random)
  return { start, end: Math.min(length, start + 1 + Math.floor(random() ** 3 * 4096)) }
}

function copyWithin(input: Uint8Array, { random }: Material): Uint8Array {
  const { start, end } = range(input.length, random)
  return input.copyWithin(place(input.length, random), start, end)
}

function remove(input: Uint8Array, { random }: Material): Uint8Array {
  const { start, end } = range(input.length, random)
  return Buffer.concat([input.subarray(0, start), input.subarray(end)])
}

function repeat(input: Uint8Array, { random }: Material): Uint8Array {
  const { start, end } = range(input.length, random)
  const times = 2 + Math.floor(random() ** 3 * 30)
  return Buffer.concat([
    input.subarray(0, start),
    ...Array.from({ length: times }, () => input.subarray(start, end)),
    input.subarray(end),
  ])
}

function cut(input: Uint8Array, { random }: Material): Uint8Array {
  return random() < 0.6 ? input : input.subarray(0, below(input.length + 1, random))
}

/** The start of this input and the end of another. */
function splice(input: Uint8Array, { others, random }: Material): Uint8Array {
  if (others.length === 0) return input
  const other = pick(others, random)
  const at = random() < 0.3 ? input.length : below(input.length + 1, random)
  const from = random() < 0.5 ? 0 : below(other.length + 1, random)
  return Buffer.concat([input.subarray(0, at), other.subarray(from)])
}

function grow(input: Uint8Array, { random }: Material): Uint8Array {
  const more = Buffer.alloc(
    1 + Math.floor(random() ** 4 * 70_000),
    pick([0, 0, 0xff, below(256, random)], random),
  )
  const at = random() < 0.7 ? input.length : place(input.length, random)
  return Buffer.concat([input.subarray(0, at), more, input.subarray(at)])
}
