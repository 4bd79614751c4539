/** Memory that is used again and again, and grows as needed. */
export function reusedMemory(): (length: number) => Uint8Array {
  let memory = new Uint8Array(0)
  return (length) => {
    if (memory.length < length) memory = new Uint8Array(length)
    return memory.subarray(0, length)
  }
}
