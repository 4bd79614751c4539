/** What QEMU ends with once the guest has written 0x10 to its exit device: twice that and one. */
export const PROOF_EXIT = 33

const SIZE = 64 * 1024

/** Where the ROM lies below 1 MiB: segment 0xf000. */
const ROM = 0xf0000

/** Where the code reads its segment descriptors from. */
const DESCRIPTORS = 0x200
const DESCRIPTORS_POINTER = 0x240

/** The last 16 bytes of a ROM are where a processor begins. */
const RESET = SIZE - 16

/** Three levels of page tables, in RAM; the first 2 MiB are where they are. */
const TABLES = 0x1000

const CODE_32 = 0x08
const DATA = 0x10
const CODE_64 = 0x18

const word = (value: number) => [value & 0xff, (value >> 8) & 0xff]
const long = (value: number) => [...word(value), ...word(value >>> 16)]

/**
 * The firmware of a guest that does what the start of every system does and some virtualisations of processors cannot:
 * it goes from real mode to 32-bit protected mode and on to 64-bit mode with paging, fills memory by a string
 * instruction, asks for the processor's features, and then ends its machine.
 * @see Intel SDM volume 3A, 9.8.5 "Initializing IA-32e Mode"
 */
export function proofRom(): Uint8Array {
  const rom = new Uint8Array(SIZE).fill(0xf4) // hlt
  // jmp 0xf000:0x0000
  rom.set([0xea, ...word(0), ...word(0xf000)], RESET)
  rom.set(
    [...new Uint8Array(8), ...descriptor(0xcf9a), ...descriptor(0xcf92), ...descriptor(0xaf9a)],
    DESCRIPTORS,
  )
  rom.set([...word(31), ...long(ROM + DESCRIPTORS)], DESCRIPTORS_POINTER)

  const real = [
    0xfa, // cli
    ...[0x2e, 0x66, 0x0f, 0x01, 0x16, ...word(DESCRIPTORS_POINTER)], // lgdt cs:[DESCRIPTORS_POINTER]
    ...[0x0f, 0x20, 0xc0], // mov eax, cr0
    ...[0x0c, 0x01], // or al, 1: protection
    ...[0x0f, 0x22, 0xc0], // mov cr0, eax
  ]
  const at32 = real.length + 8
  const protectedMode = [
    ...[0x66, 0xb8, ...word(DATA)], // mov ax, DATA
    ...[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // mov ds, ax; mov es, ax; mov ss, ax
    ...[0xbf, ...long(TABLES)], // mov edi, TABLES
    ...[0x31, 0xc0], // xor eax, eax
    ...[0xb9, ...long((3 * 4096) / 4)], // mov ecx, …
    ...[0xfc, 0xf3, 0xab], // cld; rep stosd
    ...[0xc7, 0x05, ...long(TABLES), ...long(TABLES + 0x1003)], // the first table leads to the second,
    ...[0xc7, 0x05, ...long(TABLES + 0x1000), ...long(TABLES + 0x2003)], // that to the third,
    ...[0xc7, 0x05, ...long(TABLES + 0x2000), ...long(0x83)], // and that to 2 MiB
    ...[0xb8, ...long(TABLES), 0x0f, 0x22, 0xd8], // mov eax, TABLES; mov cr3, eax
    ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // or cr4, 1 << 5: long entries
    ...[0xb9, ...long(0xc0000080), 0x0f, 0x32], // mov ecx, EFER; rdmsr
    ...[0x0d, ...long(0x100), 0x0f, 0x30], // or eax, 1 << 8; wrmsr: 64-bit mode
    ...[0x0f, 0x20, 0xc0, 0x0d, ...long(0x80000000), 0x0f, 0x22, 0xc0], // or cr0, 1 << 31: paging
  ]
  const at64 = at32 + protectedMode.length + 7
  const longMode = [
    ...[0x31, 0xc0, 0x0f, 0xa2], // xor eax, eax; cpuid
    ...[0x0f, 0x31], // rdtsc
    ...[0xb0, 0x10, 0xe6, 0xf4], // mov al, 0x10; out 0xf4, al
  ]
  rom.set([
    ...real,
    ...[0x66, 0xea, ...long(ROM + at32), ...word(CODE_32)], // jmp CODE_32:protectedMode
    ...protectedMode,
    ...[0xea, ...long(ROM + at64), ...word(CODE_64)], // jmp CODE_64:longMode
    ...longMode,
  ])
  return rom
}

/** A segment of all memory from 0 up, of these flags. */
const descriptor = (flags: number) => [0xff, 0xff, 0, 0, 0, ...word(flags), 0]
