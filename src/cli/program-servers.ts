import type { Command } from 'commander'
import type { Leaf } from './leaf.ts'

/** Servers and their volumes; what they are built from is in `program.ts`. */
export function addServers(program: Command, leaf: Leaf): void {
  const servers = program
    .command('servers')
    .description('build servers from images, start, stop, snapshot and destroy them')
  const list = servers
    .command('list [ids...]')
    .description('list servers (what "brightbox servers" does)')
    .option('-g, --group <group>', 'only those of a server group')
  leaf(list, async () => (await import('./commands/servers-list.ts')).run)
  const show = servers.command('show [ids...]').description('show all there is to know of servers')
  leaf(show, async () => (await import('./commands/servers-show.ts')).run)
  addCreate(servers, leaf)
  const update = withUserData(servers.command('update [id...]').description('change a server'), 16)
    .option('-n, --name <name>', 'name')
    .option('--compatibility-mode', 'emulated devices instead of virtio, from its next start on')
    .option('--no-compatibility-mode', 'virtio devices, from its next start on')
    .option('-g, --server-groups <ids>', 'server groups, between commas')
  leaf(update, async () => (await import('./commands/servers-update.ts')).run)
  addActions(servers, leaf)
  addConsoles(servers, leaf)

  const volumes = program.command('volumes').description("servers' disks")
  const load = () => import('./commands/volumes.ts')
  leaf(volumes.command('list [ids...]').description('list volumes'), async () => (await load()).list)
  leaf(volumes.command('show [ids...]').description('show volumes'), async () => (await load()).show)
}

const withUserData = (command: Command, limitKib: number): Command =>
  command
    .option('-m, --user-data <data>', `what the first boot reads; at most ${limitKib} KiB as it is sent`)
    .option('-f, --user-data-file <file>', 'the same from a file; - is stdin')
    .option('-e, --base64', 'encode it in Base64', true)
    .option('--no-base64', 'send it as it is')

function addCreate(servers: Command, leaf: Leaf): void {
  const create = servers
    .command('create [image]')
    .description('build servers from an image')
    .option('-n, --name <name>', 'name')
    .option('-t, --type <type>', 'type of server, by handle or id', '1gb.ssd')
    .option('-z, --zone <zone>', 'zone, by handle')
    .option('-i, --server-count <count>', 'how many', '1')
    .option('--volume-size <mib>', "MiB of its disk (default the type's)")
  withUserData(create, 64)
    .option('--compatibility-mode', 'emulated devices instead of virtio (default as the image says)')
    .option('--no-compatibility-mode', 'virtio devices, whatever the image says')
    .option('--wait', 'wait until it runs')
    .option('-g, --server-groups <ids>', 'server groups, between commas')
    .option('--cloud-ip <id>', 'true, or a cloud IP to map')
    .option('--disk-encrypted', 'encrypt its disk')
  leaf(create, async () => (await import('./commands/servers-create.ts')).run)
}

function addActions(servers: Command, leaf: Leaf): void {
  const load = () => import('./commands/servers-actions.ts')
  const add = (name: string, description: string) =>
    servers.command(`${name} [ids...]`).description(description)
  leaf(add('start', 'start servers that are inactive'), async () => (await load()).start)
  leaf(add('stop', "take servers' power away"), async () => (await load()).stop)
  leaf(add('shutdown', "press servers' power buttons"), async () => (await load()).shutdown)
  leaf(add('reboot', 'ask servers to start again'), async () => (await load()).reboot)
  leaf(add('reset', "press servers' reset buttons"), async () => (await load()).reset)
  leaf(add('lock', 'protect servers from being destroyed'), async () => (await load()).lock)
  leaf(add('unlock', 'take that protection away'), async () => (await load()).unlock)
  leaf(add('destroy', 'destroy servers with their disks'), async () => (await load()).destroy)
  const snapshot = add('snapshot', "make images of servers' disks as they are now").option(
    '--wait',
    'wait until the images are available, and print them',
  )
  leaf(snapshot, async () => (await import('./commands/servers-snapshot.ts')).run)
  const wait = add('wait', 'wait until servers have been built')
  leaf(wait, async () => (await import('./commands/servers-wait.ts')).run)
}

function addConsoles(servers: Command, leaf: Leaf): void {
  const load = () => import('./commands/servers-console.ts')
  const activate = servers
    .command('activate_console [ids...]')
    .description('print the URLs and tokens of consoles, good for 15 minutes')
  leaf(activate, async () => (await load()).activate)
  const attach = servers
    .command('console [id...]')
    .description('connect this terminal to the serial console; Ctrl-] leaves it')
  leaf(attach, async () => (await load()).attach)
}
