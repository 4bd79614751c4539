import { Command, Option } from 'commander'
import type { CommandTree } from './command-words.ts'
import type { Action, Leaf } from './leaf.ts'
import { addServers } from './program-servers.ts'
import type { GlobalOptions, Session } from './session.ts'

/** Runs a command once its words are understood; `globals` may have stood before or after it. */
export type Runner = (globals: GlobalOptions, action: (session: Session) => Promise<void>) => Promise<void>

export interface ProgramDeps {
  readonly run: Runner
  readonly version: string
}

const GLOBALS: readonly (readonly [flags: string, description: string])[] = [
  ['-s, --simple', 'values between tabs, without header'],
  ['-c, --client <name>', 'client of the configuration to act as (or CLIENT)'],
  ['--account <id>', 'account to act for (or ACCOUNT)'],
  ['-k, --insecure', 'accept any TLS certificate (or INSECURE)'],
  ['--json', 'results as JSON'],
  ['--debug', 'show the exchange with the library on stderr, without secrets (or DEBUG)'],
  ['--config <file>', 'configuration file (or BRIGHTBOX_CONFIG; default ~/.brightbox/config)'],
]

const EPILOGUE = `
Commands may be shortened: "image" is "images", "images" alone lists, "images img-xxxxx" lists that one.
Options of a command may stand before or after its arguments.
Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 111 not authenticated,
222 run it again, 130 interrupted.`

/** The subcommand of each group where none is named. */
const FALLBACKS: Readonly<Record<string, string>> = {
  images: 'list',
  servers: 'list',
  volumes: 'list',
  accounts: 'list',
  types: 'list',
  zones: 'list',
  users: 'list',
  'ssh-keys': 'list',
  token: 'show',
  config: 'client_list',
  orbit: 'containers',
}

/** Builds the command line. What a command does is loaded when it runs, so that help comes at once. */
export function createProgram({ run, version }: ProgramDeps): Command {
  const program = new Command('brightbox')
  program
    .description('The command line of the image library.')
    .version(`brightbox version ${version}`, '--version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .enablePositionalOptions()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', EPILOGUE)
  for (const [flags, description] of GLOBALS) program.option(flags, description)

  /** Global options may also follow a command, where it has none of the same name. */
  const leaf = <O>(command: Command, load: () => Promise<Action<O>>): Command => {
    const hasAccount = command.options.some((own) => own.long === '--account')
    for (const [flags, description] of GLOBALS) {
      const option = new Option(flags.replace(/^-\w, /, ''), description).hideHelp()
      if (!command.options.some((own) => own.long === option.long)) command.addOption(option)
    }
    return command.action(async () => {
      const globals = { ...command.opts<GlobalOptions>(), ...program.opts<GlobalOptions>() }
      const args = command.args
      const action = await load()
      const own = command.opts<O & { account?: string }>()
      // `images list --account` filters, it does not choose.
      const chosen = hasAccount ? { ...globals, account: program.opts().account } : globals
      await run(chosen, (session) => action(session, args, own))
    })
  }

  addImages(program, leaf)
  addServers(program, leaf)
  addOrbit(program, leaf)
  addListables(program, leaf)
  addSshKeys(program, leaf)
  addConfig(program, leaf)
  addToken(program, leaf)
  addCompletion(program, leaf)
  program.helpCommand('help [command]', 'explain a command')
  return program
}

function addImages(program: Command, leaf: Leaf): void {
  const images = program.command('images').description('register, list, change, download and destroy images')
  const list = images
    .command('list [ids...]')
    .description('list images (what "brightbox images" does)')
    .option('-a, --show-all', "also other accounts' public images")
    .option('-t, --type <type>', 'only official, upload or snapshot')
    .option('-s, --status <status>', 'only public, private, creating, deprecated, failed …')
    .option('-l, --account <account>', 'only those of an account, or of brightbox')
    .option('-n, --name <text>', 'only those with a word in their name that begins so')
  leaf(list, async () => (await import('./commands/images-list.ts')).run)
  const show = images.command('show [ids...]').description('show all there is to know of images')
  leaf(show, async () => (await import('./commands/images-show.ts')).run)
  addRegister(images, leaf)
  const update = images
    .command('update [id...]')
    .description('change an image')
    .option('-n, --name <name>', 'name')
    .option('-d, --description <text>', 'description')
    .option('-a, --arch <arch>', 'architecture: x86_64 or i686')
    .option('-m, --mode <mode>', 'virtio or compatibility')
    .option('-p, --public <flag>', 'true: every account may use it; false: only yours')
    .option('--min-ram <mb>', 'least RAM of a server with it, in MB')
    .option('--deprecated <flag>', "true: leave it out of others' listings")
    .option('-u, --username <name>', 'the login name inside the image')
  leaf(update, async () => (await import('./commands/images-update.ts')).run)
  const destroy = images.command('destroy [ids...]').description('destroy images')
  leaf(destroy, async () => (await import('./commands/images-destroy.ts')).run)
  const lock = images.command('lock [ids...]').description('protect images from being destroyed')
  leaf(lock, async () => (await import('./commands/images-lock.ts')).lock)
  const unlock = images.command('unlock [ids...]').description('take that protection away')
  leaf(unlock, async () => (await import('./commands/images-lock.ts')).unlock)
  const download = images
    .command('download [id...]')
    .description("download an image's disk; an interrupted download goes on where it was")
    .option('--format <format>', 'lz4, raw or qcow2', 'lz4')
    .option('-o, --output <file>', 'where to; - is stdout (default ID.FORMAT)')
    .option('--force', 'replace the file if it is there')
  leaf(download, async () => (await import('./commands/images-download.ts')).run)
  const events = images
    .command('events [id...]')
    .description('list what happened to an image')
    .option('--follow', 'and what happens from now on')
  leaf(events, async () => (await import('./commands/images-events.ts')).run)
  const wait = images.command('wait [ids...]').description('wait until images have been registered')
  leaf(wait, async () => (await import('./commands/images-wait.ts')).run)
}

function addRegister(images: Command, leaf: Leaf): void {
  const register = images
    .command('register')
    .allowExcessArguments()
    .description('make an image from a URL, or from a file')
    .option('-n, --name <name>', 'name')
    .option('-d, --description <text>', 'description')
    .option('-u, --username <name>', 'the login name inside the image')
    .option('-a, --arch <arch>', 'architecture: x86_64 or i686 (required)')
    .option('--url <url>', 'the URL that the library downloads')
    .option('--file <path>', 'a file of this machine, sent to Orbit and registered from there')
    .option('-s, --server <id>', 'the server to make it from')
    .option('--volume <id>', 'the volume to make it from')
    .option('-m, --mode <mode>', 'virtio or compatibility', 'virtio')
    .option('-p, --public <flag>', 'true or false', 'false')
    .option('--min-ram <mb>', 'least RAM of a server with it, in MB')
    .option('--checksum <sha256:hex>', 'what the downloaded bytes must have')
    .option('--wait', 'wait until it is available, and show how far it is')
  leaf(register, async () => (await import('./commands/images-register.ts')).run)
}

function addOrbit(program: Command, leaf: Leaf): void {
  const orbit = program.command('orbit').description('containers and objects')
  const load = () => import('./commands/orbit.ts')
  const loadTransfers = () => import('./commands/orbit-transfers.ts')
  const containers = orbit
    .command('containers')
    .allowExcessArguments()
    .description('list containers (what "brightbox orbit" does)')
  leaf(containers, async () => (await load()).containers)
  const list = orbit
    .command('ls [container] [prefix]')
    .description('list the objects of a container')
    .option('-d, --delimiter <text>', 'list what has this behind the prefix only once; usually /')
  leaf(list, async () => (await load()).list)
  const put = orbit
    .command('put [file] [container/name]')
    .description('send a file, a large one in segments; an interrupted upload goes on where it was')
    .option('--segment-size <mib>', 'MiB of a segment (default: chosen by the size)')
  leaf(put, async () => (await loadTransfers()).put)
  const get = orbit
    .command('get [container/name] [file]')
    .description('fetch an object; an interrupted download goes on where it was; - is stdout')
    .option('--force', 'replace the file if it is there')
  leaf(get, async () => (await loadTransfers()).get)
  const remove = orbit
    .command('rm [container/name...]')
    .description('remove objects, a large one with its segments, and empty containers')
    .option('-r, --recursive', 'all objects of a container, and it; or all that begin with a name')
  leaf(remove, async () => (await load()).remove)
  const tempUrl = orbit
    .command('tempurl [container/name]')
    .description('print a URL that opens one object to anybody for a while')
    .option('--method <method>', 'what may be done with it: GET, HEAD, PUT, POST or DELETE', 'GET')
    .option('--expires <time>', 'how long: 30m, 24h, 7d', '24h')
  leaf(tempUrl, async () => (await load()).tempUrl)
}

function addListables(program: Command, leaf: Leaf): void {
  const accounts = program.command('accounts').description('accounts one can act for')
  const load = () => import('./commands/accounts.ts')
  leaf(accounts.command('list').description('list accounts'), async () => (await load()).list)
  leaf(accounts.command('show [ids...]').description('show accounts'), async () => (await load()).show)
  const choose = accounts.command('default [id]').description('act for this account from now on')
  leaf(choose, async () => (await load()).setDefault)

  const loadPlaces = () => import('./commands/places.ts')
  const types = program.command('types').description('types of server')
  leaf(types.command('list [ids...]').description('list types'), async () => (await loadPlaces()).listTypes)
  leaf(types.command('show [ids...]').description('show types'), async () => (await loadPlaces()).showTypes)
  const zones = program.command('zones').description('places that servers run in')
  leaf(zones.command('list [ids...]').description('list zones'), async () => (await loadPlaces()).listZones)
  leaf(zones.command('show [ids...]').description('show zones'), async () => (await loadPlaces()).showZones)
  const users = program.command('users').description('people with a login')
  leaf(users.command('list [ids...]').description('list users'), async () => (await loadPlaces()).listUsers)
  leaf(users.command('show [ids...]').description('show users'), async () => (await loadPlaces()).showUsers)
}

function addSshKeys(program: Command, leaf: Leaf): void {
  const load = () => import('./commands/ssh-keys.ts')
  const keys = program.command('ssh-keys').description('public keys that log in to the SFTP service')
  leaf(keys.command('list').description('list keys'), async () => (await load()).list)
  const add = keys
    .command('add [file]')
    .description('add the public key in a file')
    .option('-n, --name <name>', "name (default the key's comment)")
    .option('--api-client <id>', "let it in as an API client (default whoever's client this is)")
  leaf(add, async () => (await load()).add)
  leaf(keys.command('remove [ids...]').description('remove keys'), async () => (await load()).remove)
}

function addConfig(program: Command, leaf: Leaf): void {
  const load = () => import('./commands/config.ts')
  const config = program.command('config').description('clients and users this machine acts as')
  const clientAdd = config
    .command('client_add [client-id] [secret] [api-url] [auth-url]')
    .description('add an API client')
    .option('-a, --alias <alias>', 'a name for it on this machine')
    .addOption(new Option('-t, --auth-url <url>', 'without effect, as in the official client').hideHelp())
  leaf(clientAdd, async () => (await load()).clientAdd)
  const userAdd = config
    .command('user_add [email] [application-id] [secret] [api-url] [auth-url]')
    .description('add a user')
    .option('-a, --alias <alias>', 'a name for it on this machine')
    .option('-p, --password <password>', 'asked for where it is left out')
  leaf(userAdd, async () => (await load()).userAdd)
  const clientList = config.command('client_list').allowExcessArguments().description('list them')
  leaf(clientList, async () => (await load()).clientList)
  const clientDefault = config.command('client_default [alias]').description('act as this one from now on')
  leaf(clientDefault, async () => (await load()).clientDefault)
  const clientRemove = config.command('client_remove [alias]').description('remove one')
  leaf(clientRemove, async () => (await load()).clientRemove)
}

function addToken(program: Command, leaf: Leaf): void {
  const login = program
    .command('login [email]')
    .description('log in as a user')
    .option('-p, --password <password>', 'asked for where it is left out')
    .option('--api-url <url>', 'where the library is')
    .option('--auth-url <url>', 'where its tokens are made, if elsewhere')
    .option('--default-account <id>', 'the account to act for')
    .option('--application-id <id>', 'app-xxxxx')
    .option('--application-secret <secret>', 'its secret')
  leaf(login, async () => (await import('./commands/login.ts')).run)
  const token = program.command('token').description('access tokens')
  const load = () => import('./commands/token.ts')
  const format = ['--format <format>', 'text, token, json or curl', 'text'] as const
  const show = token.command('show').allowExcessArguments().description('print the token in use')
  leaf(show.option(...format), async () => (await load()).show)
  const create = token.command('create').allowExcessArguments().description('get a new token, and print it')
  leaf(create.option(...format), async () => (await load()).create)
}

function addCompletion(program: Command, leaf: Leaf): void {
  const load = () => import('./commands/completion.ts')
  const completion = program
    .command('completion [shell]')
    .description('print completion for bash, zsh or fish')
  leaf(completion, async () => (await load()).script)
  const answer = program.command('complete [words...]', { hidden: true }).passThroughOptions()
  leaf(answer, async () => {
    const { complete } = await load()
    return (session, args) => complete(session, args, program)
  })
}

/** The words of the command line, for those who shorten them. */
export function readTree(command: Command): CommandTree {
  const sub = new Map(command.commands.map((child) => [child.name(), readTree(child)]))
  const valueOptions = new Set(
    command.options.filter((option) => option.required).flatMap(({ short, long }) => [short, long]),
  )
  const fallback = FALLBACKS[command.name()]
  const help = command.parent === null ? ['help'] : []
  return {
    words: [...sub.keys(), ...help].filter((word) => word !== 'complete'),
    ...(fallback === undefined || command.commands.length === 0 ? {} : { fallback }),
    valueOptions: new Set([...valueOptions].filter((flag) => flag !== undefined)),
    sub,
  }
}
