import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { bootableImage, type Drivers, IMAGE_TOOLS, LAYOUT, patternOf, patternSum } from './bootable-image.ts'
import { attachStream } from './guest.ts'
import { needs } from './tools.ts'

describe('bootable image', needs('qemu-system-x86_64', ...IMAGE_TOOLS), () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bootable-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Boots a copy of an image on the hardware of one mode. */
  async function boot(drivers: Drivers, hardware: 'virtio' | 'emulated') {
    const disk = join(folder, `${drivers}-on-${hardware}.raw`)
    await copyFile(bootableImage(drivers), disk)
    const [block, net] = hardware === 'virtio' ? ['virtio-blk-pci', 'virtio-net-pci'] : ['ide-hd', 'e1000']
    const words = ['-accel', 'tcg', '-machine', 'pc', '-m', '256', '-nodefaults', '-display', 'none']
    words.push('-drive', `if=none,id=disk,format=raw,file=${disk}`, '-device', `${block},drive=disk`)
    words.push('-netdev', 'user,id=net', '-device', `${net},netdev=net`, '-serial', 'stdio')
    const child = spawn('qemu-system-x86_64', words, { stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    const guest = attachStream(Duplex.from({ readable: child.stdout, writable: child.stdin }))
    return {
      disk,
      guest,
      ended,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
        guest[Symbol.dispose]()
      },
    }
  }

  test('virtio drivers find virtio hardware, the network too', async () => {
    await using machine = await boot('virtio', 'virtio')
    const { guest } = machine
    await guest.ready()
    const { mac, ...report } = await guest.report()
    const sectors = String(LAYOUT.size * 2048)
    const expected = { disk: 'vda', diskdriver: 'virtio_blk', sectors, net: 'eth0', netdriver: 'virtio_net' }
    assert.deepEqual(report, expected)
    assert.match(mac ?? '', /^52:54:00(:[0-9a-f]{2}){3}$/)
    assert.match(await guest.run('net'), /^10\.0\.2\.\d+\/24$/)
    await assert.rejects(guest.run('seed'), 'there is none')
  })

  test('emulated drivers find a disk of old; what they write there is the known pattern', async () => {
    await using machine = await boot('emulated', 'emulated')
    const { guest, disk, ended } = machine
    await guest.ready()
    const { diskdriver, netdriver } = await guest.report()
    assert.deepEqual([diskdriver, netdriver], ['ata_piix', 'e1000'])
    await guest.run(`write ${LAYOUT.free} 3 salt`)
    assert.equal(await guest.run(`sum ${LAYOUT.free} 3`), patternSum(LAYOUT.free, 3, 'salt'))
    guest.tell('poweroff -f')
    await ended
    await using file = await open(disk)
    const mib = Buffer.alloc(1 << 20)
    await file.read(mib, 0, mib.length, (LAYOUT.free + 2) << 20)
    assert.ok(mib.equals(patternOf(LAYOUT.free + 2, 'salt')), 'on the disk')
  })

  test('virtio drivers find nothing on emulated hardware', async () => {
    await using machine = await boot('virtio', 'emulated')
    await machine.guest.ready()
    const { disk, net } = await machine.guest.report()
    assert.deepEqual([disk, net], ['none', 'none'])
  })
})
