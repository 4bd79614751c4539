import { LibraryError } from '#base/errors.ts'

/** One event of a `text/event-stream`. */
export interface ServerEvent {
  readonly id: string | undefined
  readonly event: string
  readonly data: string
}

const MAX_EVENT_CHARACTERS = 1024 * 1024

/** Reads server-sent events; comments and what comes before a dropped connection's last empty line are left out. */
export async function* readServerEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of readQuietly(body)) {
    text = (text + decoder.decode(chunk, { stream: true })).replaceAll('\r\n', '\n')
    if (text.length > MAX_EVENT_CHARACTERS)
      throw new LibraryError('too_large', 'read events: one is too long')
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = parseEvent(text.slice(0, end))
      text = text.slice(end + 2)
      if (event) yield event
    }
  }
}

/** A broken connection ends the stream; whoever follows it opens another. */
async function* readQuietly(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
  }
}

function parseEvent(block: string): ServerEvent | undefined {
  let [id, event]: [string | undefined, string] = [undefined, 'message']
  const data: string[] = []
  for (const line of block.split('\n')) {
    const [, name, value = ''] = /^([a-z]+)(?:: ?(.*))?$/.exec(line) ?? []
    if (name === 'id') id = value
    else if (name === 'event') event = value
    else if (name === 'data') data.push(value)
  }
  return data.length === 0 ? undefined : { id, event, data: data.join('\n') }
}
