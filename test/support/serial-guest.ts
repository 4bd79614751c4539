import type { Socket } from 'node:net'

const ORIGIN = 0x7c00
const DRIVE = 0x75
const REQUEST = 0x76
const BUFFER = 0x8000
const DISTANCE = 2048 * 512

const word = (value: number) => [value & 0xff, value >> 8]

/**
 * A system of 134 bytes for a disk's first sector, which obeys the serial port: `w`, a digit and a letter fill the
 * sector at that many MiB with the letter; `r` and a digit answer with its first byte; either answers `e` where the
 * disk fails; `p` turns the machine off. It says `R` once it runs. It knows disks by the firmware alone, so it runs
 * from whatever disk that can boot from.
 */
export function serialGuest(): Uint8Array {
  const sector = new Uint8Array(512)
  sector.set([
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax
    ...[0xbc, ...word(0x7000), 0x88, 0x16, ...word(ORIGIN + DRIVE)], // mov sp, 0x7000; mov [drive], dl
    ...[0xb0, 0x52], // mov al, 'R'
    // next:
    ...[0xe8, 0x43, 0x00, 0xe8, 0x4f, 0x00, 0x88, 0xc3], // call send; call receive; mov bl, al
    ...[0x3c, 0x70, 0x74, 0x33], // cmp al, 'p'; je off
    ...[0xe8, 0x46, 0x00, 0x83, 0xe0, 0x0f, 0xc1, 0xe0, 0x0b], // call receive; and ax, 15; shl ax, 11
    ...[0xa3, ...word(ORIGIN + REQUEST + 8), 0xb4, 0x42], // mov [lba], ax; mov ah, 0x42: read
    ...[0x80, 0xfb, 0x77, 0x75, 0x0e], // cmp bl, 'w'; jne disk
    ...[0xe8, 0x33, 0x00, 0xbf, ...word(BUFFER)], // call receive; mov di, buffer
    ...[0xb9, ...word(512), 0xf3, 0xaa, 0xb8, ...word(0x4300)], // mov cx, 512; rep stosb; mov ax, 0x4300: write
    // disk:
    ...[0xbe, ...word(ORIGIN + REQUEST), 0x8a, 0x16, ...word(ORIGIN + DRIVE)], // mov si, request; mov dl, [drive]
    ...[0xcd, 0x13, 0xb0, 0x65, 0x72, 0xc6], // int 0x13; mov al, 'e'; jc next
    ...[0xa0, ...word(BUFFER), 0xeb, 0xc1], // mov al, [buffer]; jmp next
    // off:
    ...[0xba, ...word(0x604), 0xb8, ...word(0x2000), 0xef], // mov dx, 0x604; mov ax, 0x2000; out dx, ax
    // send:
    ...[0x50, 0xba, ...word(0x3fd), 0xec, 0xa8, 0x20, 0x74, 0xfb], // push ax; wait until there is room
    ...[0x58, 0xba, ...word(0x3f8), 0xee, 0xc3], // pop ax; out; ret
    // receive:
    ...[0xfb, 0xf4, 0xba, ...word(0x3fd), 0xec, 0xa8, 0x01, 0x74, 0xf6], // sti; hlt, until there is a byte
    ...[0xba, ...word(0x3f8), 0xec, 0xc3], // in; ret
    0x00, // drive
    ...[16, 0, 1, 0, ...word(BUFFER), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // request: one sector
  ])
  sector.set([0x55, 0xaa], 510)
  return sector
}

/** Where the sector of a digit lies, in bytes. */
export const guestOffset = (digit: number) => digit * DISTANCE

/** Asks the guest on this serial port, and resolves with what it says; rejects after `limitMs`. */
export async function tellGuest(serial: Socket, command: string, limitMs = 30_000): Promise<string> {
  const answer = Promise.withResolvers<string>()
  const onData = (chunk: Buffer) => {
    // It may have begun to run only now.
    const said = chunk.toString().replaceAll('R', '')
    if (said !== '') answer.resolve(said)
  }
  const onGone = () => answer.reject(new Error('the serial port closed'))
  const timer = setTimeout(() => answer.reject(new Error(`the guest is silent after ${command}`)), limitMs)
  serial.on('data', onData).once('close', onGone)
  serial.write(command)
  try {
    return await answer.promise
  } finally {
    clearTimeout(timer)
    serial.off('data', onData).off('close', onGone)
  }
}
