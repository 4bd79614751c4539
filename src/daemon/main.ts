import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { KiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Flags } from './config.ts'
import { parseSize } from './units.ts'
import { readVersion } from './version.ts'

/** A command that works on a data folder. Its module is loaded when it runs, so that help is fast. */
function onData(command: Command): Command {
  return command
    .option('--data <dir>', 'the data folder (default ./data)')
    .option('--store <url>', 'where blocks lie, if not in it: s3://BUCKET/PREFIX?endpoint=http://HOST:PORT')
    .option('--catalog <url>', 'where the catalog is, if not in it: postgres://USER@HOST/DATABASE')
    .option('--config <file>', 'a settings file; see docs/guides/settings.md')
}

function appendTo(value: string, before: readonly string[] = []): string[] {
  return [...before, value]
}

function parseFlag(text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  throw new InvalidArgumentError('It must be true or false.')
}

/** Slower than this, the wait for one file could be longer than timers go. */
const LEAST_RATE = KiB

function parseRate(text: string): number {
  const rate = parseSize(text)
  if (rate !== undefined && rate >= LEAST_RATE) return rate
  throw new InvalidArgumentError('It must be a size of 1 KiB at least, such as 50MiB.')
}

function createProgram(): Command {
  const program = new Command('image-library')
    .description('A library of server images: register from any URL, keep safe, read back in any form')
    .version(readVersion())
    .showHelpAfterError('(image-library --help lists what there is)')
    .exitOverride()
  addServe(program)
  addPeople(program)
  addServerTypes(program)
  addUpkeep(program)
  addMoving(program)
  return program
}

function addServe(program: Command): void {
  onData(program.command('serve').description('run the library'))
    .option('--roles <list>', 'what this process does: api, orbit, sftp, worker, servers (default all)')
    .option('--http <addr:port>', 'where to listen (default 127.0.0.1:8080)')
    .option('--sftp <addr:port>', 'where to listen for SFTP, or none (default 127.0.0.1:2222)')
    .option('--accelerator <name>', 'what servers run by: auto, kvm or tcg (default auto)')
    .option('--allow-source <cidr>', 'private addresses that images may come from; repeatable', appendTo)
    .action(async (flags: Flags) => (await import('./commands/serve.ts')).runServe(flags))
}

const people = () => import('./commands/people.ts')

function addPeople(program: Command): void {
  const account = program.command('account').description('accounts, which own images')
  onData(account.command('create').description('make an account').argument('<name>'))
    .option('--no-images', 'without the container that shows its images in Orbit')
    .action(async (name: string, flags) => (await people()).createAccount(name, flags))
  onData(account.command('list').description('list all accounts')).action(async (flags: Flags) =>
    (await people()).listAccounts(flags),
  )
  onData(account.command('quota').description("limit what an account's objects in Orbit take"))
    .argument('<account>')
    .argument('<size>', 'such as 200GiB, or none')
    .action(async (id: string, size: string, flags: Flags) => (await people()).setQuota(id, size, flags))
  onData(account.command('limits').description("limit what an account's servers take, or show the limits"))
    .argument('<account>')
    .option('--servers <number>', 'how many; or none, or default for what the settings say')
    .option('--ram <size>', 'memory of all together, such as 64GiB; or none, or default')
    .option('--disk <size>', 'disks of all together, such as 2TiB; or none, or default')
    .action(async (id: string, flags) => (await people()).setLimits(id, flags))

  for (const [name, status, description] of [
    ['suspend', 'suspended', 'keep everybody from an account; what he has open there ends'],
    ['resume', 'active', 'let everybody use a suspended account again'],
  ] as const) {
    onData(account.command(name).description(description).argument('<account>')).action(
      async (id: string, flags: Flags) => (await people()).setAccountStatus(id, status, flags),
    )
  }
  addClients(program)
  addUsers(program)
}

function addClients(program: Command): void {
  const client = program.command('client').description('API clients, which programs authenticate with')
  onData(client.command('create').description('make an API client; its secret is shown this once'))
    .option('--account <acc>', 'the account it acts on; needed where there are several')
    .option('--name <name>', 'shown to people')
    .option('--permissions <group>', 'full, or storage for object storage only', 'full')
    .action(async (flags) => (await people()).createClient(flags))
  onData(client.command('list').description('list API clients'))
    .option('--account <acc>', 'of this account only')
    .action(async (flags) => (await people()).listClients(flags))
  onData(client.command('revoke').description('end an API client, its tokens and what it has open'))
    .argument('<client>')
    .action(async (id: string, flags: Flags) => (await people()).revokeClient(id, flags))
}

function addUsers(program: Command): void {
  const user = program.command('user').description('people, who log in with a password')
  onData(
    user.command('create').description('make a user; the password is shown this once').argument('<email>'),
  )
    .option('--account <acc>', 'an account to act on; repeatable; needed where there are several', appendTo)
    .option('--name <name>', 'shown to people')
    .action(async (email: string, flags) => (await people()).createUser(email, flags))
  onData(user.command('password').description('give a user another password; it is shown this once'))
    .argument('<email>')
    .action(async (email: string, flags: Flags) => (await people()).resetPassword(email, flags))
  onData(user.command('remove').description('remove a user with his tokens and SSH keys'))
    .argument('<email>')
    .option('--account <acc>', 'only from this account, where he has others')
    .action(async (email: string, flags) => (await people()).removeUser(email, flags))
}

function addServerTypes(program: Command): void {
  const types = () => import('./commands/server-types.ts')
  const type = program.command('server-type').description('the sizes that servers come in')
  const described = (command: Command) =>
    onData(command)
      .option('--name <name>', 'shown to people')
      .option('--cores <number>', 'processors')
      .option('--ram <size>', 'memory, such as 1GiB')
      .option('--disk <size>', 'such as 40GiB; or none, where each server says how large its disk is to be')
      .option('--status <status>', 'available, experimental, or deprecated: no new servers are built as it')
  onData(type.command('list').description('list all types')).action(async (flags: Flags) =>
    (await types()).listServerTypes(flags),
  )
  described(type.command('add').description('add a type'))
    .argument('<handle>', 'such as 1gb.ssd')
    .action(async (handle: string, flags) => (await types()).addServerType(handle, flags))
  described(type.command('update').description('change a type; servers stay what they were built as'))
    .argument('<type>', 'its handle or id')
    .option('--handle <handle>', 'what people type')
    .action(async (id: string, flags) => (await types()).updateServerType(id, flags))
  onData(type.command('remove').description('remove a type that no server was ever built as'))
    .argument('<type>', 'its handle or id')
    .action(async (id: string, flags: Flags) => (await types()).removeServerType(id, flags))
}

function addUpkeep(program: Command): void {
  const upkeep = () => import('./commands/upkeep.ts')
  const image = program.command('image').description("what only the library's operator may do to images")
  const official = image.command('official').description('say whether the operator provides an image')
  onData(official.argument('<image>').argument('<true|false>', '', parseFlag)).action(
    async (id: string, isOfficial: boolean, flags: Flags) =>
      (await upkeep()).setOfficial(id, isOfficial, flags),
  )
  onData(program.command('check').description('read and verify every stored manifest and block'))
    .option('--quarantine', 'move damaged ones out of the way, so that registering again mends them')
    .option('--status', 'read nothing: say how far the background check is, and what is known to be damaged')
    .option('--rate <size>', 'read at most so much a second on average, such as 50MiB', parseRate)
    .action(async (flags) => (await upkeep()).runCheck(flags))
  onData(program.command('repair').description('read a damaged image again from where its bytes still are'))
    .argument('<image>', 'of any account')
    .action(async (id: string, flags: Flags) => (await upkeep()).repairImage(id, flags))
  onData(program.command('collect').description('delete stored blocks that nothing needs'))
    .option('--dry-run', 'count, and delete nothing')
    .action(async (flags) => (await upkeep()).runCollect(flags))
  onData(
    program.command('export').description("offer an image's disk over NBD, read-only, until interrupted"),
  )
    .argument('<image>', 'of any account')
    .option('--socket <path>', 'a Unix socket for it; by default one in the folder for temporary files')
    .option(
      '--listen <addr:port>',
      'instead, a port, such as 127.0.0.1:10809; whoever reaches it may read the disk',
    )
    .action(async (id: string, flags) => (await import('./commands/export.ts')).runExport(id, flags))
  onData(program.command('migrate').description("bring the catalog's tables up to date, as a start would"))
    .option('--check', 'only say what is to be done, and whether processes of before go on; exits with 2')
    .action(async (flags) => (await import('./commands/migrate.ts')).runMigrate(flags))
  const config = program.command('config').description('settings')
  onData(config.command('show').description('print every setting and what decided it'))
    .option('--roles <list>')
    .option('--http <addr:port>')
    .option('--sftp <addr:port>')
    .option('--accelerator <name>')
    .option('--allow-source <cidr>', '', appendTo)
    .action(async (flags: Flags) => (await upkeep()).showConfig(flags))
}

function parseKeep(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be a number from 1 to 999999.')
}

function addMoving(program: Command): void {
  const backup = () => import('./commands/backup.ts')
  onData(
    program.command('backup').description('add a snapshot of the library to a backup; also while it runs'),
  )
    .argument('<folder>', 'of the backup, on another disk')
    .option('--keep <number>', 'then remove all snapshots but so many of the newest', parseKeep)
    .option('--verify', 'read what is in the backup already as well, and mend what is damaged there')
    .option('--rate <size>', 'copy at most so much a second on average, such as 50MiB', parseRate)
    .option('--prune', 'add nothing: only remove what no snapshot needs')
    .option('--list', 'add nothing: only list the snapshots')
    .action(async (folder: string, flags) => (await backup()).runBackup(folder, flags))
  onData(program.command('restore').description('make a library of a backup, where there is none yet'))
    .argument('<folder>', 'of the backup')
    .option('--snapshot <name>', 'by default the newest')
    .option('--despite-damage', 'where something of the backup is damaged, restore everything else')
    .option('--check', 'only read and verify all of the backup, and restore nothing')
    .action(async (folder: string, flags) =>
      (await import('./commands/restore.ts')).runRestore(folder, flags),
    )
  program
    .command('migrate-data')
    .description('take a library to another catalog and store, while it runs')
    .requiredOption('--from <place>', 'the settings file, or data folder, that the library is started with')
    .requiredOption('--to <place>', 'the same of the new place; it must be empty')
    .option('--prepare', 'copy what is there by now, and leave the rest for another time')
    .option('--cancel', 'have the old library accept changes again, where the new one was not finished')
    .option('--rate <size>', 'copy at most so much a second on average, such as 50MiB', parseRate)
    .action(async (flags) => (await import('./commands/migrate-data.ts')).runMigrateData(flags))
}

/**
 * Runs one command line.
 * @returns the exit code: 0, 1 for an error, 2 where `check` found damage
 */
export async function main(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode
    if (!(error instanceof LibraryError)) throw error
    console.error(`error: ${error.message}`)
    if (error.hint !== undefined) console.error(`hint: ${error.hint}`)
    return 1
  }
}

if (import.meta.main) {
  // Whatever we make is for us alone, in a folder that somebody else made, too.
  process.umask(0o077)
  process.exitCode = await main(process.argv.slice(2))
}
