import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommanderError } from 'commander'
import { expandCommand } from './command-words.ts'
import { CommandError, describeFailure, EXIT } from './failure.ts'
import { createProgram, readTree } from './program.ts'
import { createSession } from './session.ts'
import { openTerminal } from './terminal.ts'

/** The official client whose commands, columns and messages we keep to. */
const COMPATIBLE = '5.1.0'

/** How long a command may take to tidy up after Ctrl-C. */
const INTERRUPT_MS = 1000

function readVersion(): string {
  const path = join(import.meta.dirname, '..', '..', 'package.json')
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string }
  return version
}

/** Runs one command line. @returns the exit code */
export async function main(args: readonly string[]): Promise<number> {
  const { stdin, stdout, stderr, env } = process
  const terminal = openTerminal({ stdin, stdout, stderr, env })
  const version = readVersion()
  const interrupt = new AbortController()
  const onSignal = () => {
    interrupt.abort()
    setTimeout(() => process.exit(EXIT.interrupted), INTERRUPT_MS).unref()
  }
  const program = createProgram({
    version: `${version} (compatible with ${COMPATIBLE})`,
    run: async (options, action) => {
      process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
      const session = createSession({ options, terminal, env, version, signal: interrupt.signal })
      try {
        await action(session)
      } finally {
        session.http.close()
        process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      }
    },
  })
  for (const command of withDescendants(program)) {
    command.exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} })
  }
  try {
    if (args.length === 0) {
      terminal.out(program.helpInformation())
      return EXIT.ok
    }
    // What shells send to be completed is no command yet.
    const words = args[0] === 'complete' ? args : expandCommand(args, readTree(program))
    await program.parseAsync([...words], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    if (interrupt.signal.aborted) return EXIT.interrupted
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    const failure = error instanceof CommanderError ? usageError(error) : error
    const { text, exitCode } = describeFailure(failure)
    terminal.status(text)
    if ((env.DEBUG || args.includes('--debug')) && error instanceof Error) logCause(error, terminal.info)
    return exitCode
  }
}

type Described = ReturnType<typeof createProgram>

const withDescendants = (command: Described): Described[] => [
  command as Described,
  ...command.commands.flatMap((child) => withDescendants(child as Described)),
]

/** Commander's own messages, as a sentence and a hint. */
function usageError(error: CommanderError): CommandError {
  const [line = '', ...rest] = error.message.replace(/^error: /, '').split('\n')
  const guess = rest.join(' ').replace(/^\((.*)\)$/, '$1')
  return new CommandError(line, { hint: guess || 'add --help to the command to see what it takes' })
}

function logCause(error: Error, info: (line: string) => void): void {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    info(`DEBUG: ${cause.stack ?? cause.message}`)
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
