import { basename, dirname } from 'node:path'
import { test } from 'node:test'
import { bootableImage, IMAGE_TOOLS } from './support/bootable-image.ts'
import { startDaemon } from './support/daemon.ts'
import { startFileServer } from './support/file-server.ts'
import { serverSettings } from './support/servers.ts'
import { needs } from './support/tools.ts'
import { runTour } from './support/tour.ts'

test(
  'docs/guides/servers.md: the tour prints what it says',
  needs('bash', 'grep', 'qemu-system-x86_64', ...IMAGE_TOOLS),
  async () => {
    const image = bootableImage('virtio')
    await using files = await startFileServer(dirname(image))
    await using daemon = await startDaemon({ settings: serverSettings() })
    const replace = (command: string) =>
      command.replace('http://127.0.0.1:8000/disk.raw', files.url(basename(image)))
    await runTour({ page: 'docs/guides/servers.md', daemon, replace })
  },
)
