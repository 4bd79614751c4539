import { CommandError } from '../failure.ts'
import type { Session } from '../session.ts'

export interface Options {
  readonly format: string
}

/** The official client pads labels of tokens to this, whatever their lengths. */
const LABEL_WIDTH = 16
const FORMATS = ['text', 'token', 'json', 'curl']

interface Printed {
  readonly access: string | undefined
  readonly refresh: string | undefined
  readonly apiUrl: URL
}

/** Prints the token that is kept from an earlier command; asks nobody. */
export async function show(session: Session, args: readonly string[], options: Options) {
  checkFormat(args, options)
  const { client, tokens } = await session.connect()
  const config = await session.config()
  const refresh = client.isUser ? await config.readToken(client.section, 'refresh_token') : undefined
  print(session, options, { access: await tokens.cached(), refresh, apiUrl: client.apiUrl })
}

/** Always gets a new token, and prints it. */
export async function create(session: Session, args: readonly string[], options: Options) {
  checkFormat(args, options)
  const { client, tokens } = await session.connect()
  const answer = await tokens.renew()
  print(session, options, {
    access: answer.access_token,
    refresh: answer.refresh_token,
    apiUrl: client.apiUrl,
  })
}

function checkFormat(args: readonly string[], { format }: Options): void {
  if (args.length > 0) throw new CommandError(`Unknown command '${args[0]}'`, { hint: 'show or create' })
  if (!FORMATS.includes(format)) throw new CommandError(`format must be one of ${FORMATS.join(', ')}`)
}

function print(session: Session, { format }: Options, { access, refresh, apiUrl }: Printed): void {
  const fields: [string, string][] = [
    ['access_token', access ?? ''],
    ...(refresh === undefined ? [] : [['refresh_token', refresh] as [string, string]]),
    ['token_type', 'Bearer'],
  ]
  const { terminal } = session
  if (session.options.json) session.printJson(Object.fromEntries(fields))
  else if (format === 'json') terminal.out(`${JSON.stringify(Object.fromEntries(fields))}\n`)
  else if (format === 'token') terminal.out(`${access ?? ''}\n`)
  else if (format === 'curl') {
    terminal.out(`curl -H 'Authorization: Bearer ${access ?? ''}' ${new URL('/1.0/', apiUrl)}\n`)
  } else terminal.out(fields.map(([name, value]) => `${name.padStart(LABEL_WIDTH)}: ${value}\n`).join(''))
}
