import type { ReadStream, WriteStream } from 'node:tty'

/** Where a command writes: results to stdout, everything else to stderr. */
export interface Terminal {
  /** Results, as they are. */
  out(text: string): void
  /** One line of progress or warning on stderr. */
  info(line: string): void
  /** Raw text on stderr, for a progress bar. */
  status(text: string): void
  readonly stdin: ReadStream
  readonly stdout: NodeJS.WriteStream
  /** Columns for tables. */
  readonly width: number
  /** Columns of stderr when it is a terminal, else null: then progress is printed as plain lines. */
  readonly statusWidth: number | null
  /** Asks for a secret without showing it; without a terminal it reads one line of stdin. */
  askSecret(question: string): Promise<string>
}

const DEFAULT_WIDTH = 120

/** The width of tables: COLUMNS when LINES is set too, else the terminal's, else 120, as the official client. */
export function tableWidth(env: NodeJS.ProcessEnv, columns: number | undefined): number {
  const [wanted, lines] = [Number(env.COLUMNS), Number(env.LINES)]
  if (Number.isInteger(wanted) && wanted > 0 && Number.isInteger(lines) && lines > 0) return wanted
  return columns && columns > 0 ? columns : DEFAULT_WIDTH
}

export function openTerminal(streams: {
  stdin: ReadStream
  stdout: WriteStream
  stderr: WriteStream
  env: NodeJS.ProcessEnv
}): Terminal {
  const { stdin, stdout, stderr, env } = streams
  // `brightbox images | head -1` is no error: whoever needs to know is told by the write itself.
  for (const stream of [stdout, stderr]) stream.on('error', () => undefined)
  return {
    out: (text) => void stdout.write(text),
    info: (line) => void stderr.write(`${line}\n`),
    status: (text) => void stderr.write(text),
    stdin,
    stdout,
    width: tableWidth(env, stdout.isTTY ? stdout.columns : undefined),
    statusWidth: stderr.isTTY ? (stderr.columns ?? DEFAULT_WIDTH) : null,
    askSecret: (question) => askSecret(question, stdin, stderr),
  }
}

/** The question goes to stderr, so that a pipe on stdout never swallows it. */
async function askSecret(question: string, stdin: ReadStream, stderr: WriteStream): Promise<string> {
  const { createInterface } = await import('node:readline')
  stderr.write(question)
  if (stdin.isTTY) stdin.setRawMode(true)
  const lines = createInterface({ input: stdin, terminal: false })
  try {
    if (stdin.isTTY) return await readHidden(stdin)
    for await (const line of lines) return line
    return ''
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false)
    lines.close()
    stdin.destroy()
    stderr.write('\n')
  }
}

function readHidden(stdin: ReadStream): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const onData = (chunk: Buffer) => {
      for (const char of chunk.toString('utf8')) {
        if (char === '\r' || char === '\n' || char === '\u0004') {
          stdin.off('data', onData)
          return resolve(text)
        }
        if (char === '\u0003') {
          stdin.setRawMode(false)
          process.kill(process.pid, 'SIGINT')
        } else if (char === '\u007f' || char === '\b') text = text.slice(0, -1)
        else text += char
      }
    }
    stdin.on('data', onData)
  })
}
