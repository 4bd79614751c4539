/** Says whether [address, address + length) is all zeros; the first piece that is not ends the search. */
export function isZero(address: usize, length: usize): bool {
  const end = address + length
  for (; address + 64 <= end; address += 64) {
    const any =
      load<u64>(address) | load<u64>(address, 8) | load<u64>(address, 16) | load<u64>(address, 24) |
      load<u64>(address, 32) | load<u64>(address, 40) | load<u64>(address, 48) | load<u64>(address, 56)
    if (any) return false
  }
  for (; address < end; address++) if (load<u8>(address)) return false
  return true
}
