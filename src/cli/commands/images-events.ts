import { setTimeout as sleep } from 'node:timers/promises'
import { type Api, ConnectionAttemptError } from '../api.ts'
import { ApiError, CommandError, printable } from '../failure.ts'
import type { HttpResponse } from '../http.ts'
import { imagePath, missingImage } from '../images.ts'
import { readServerEvents } from '../server-events.ts'
import type { Session } from '../session.ts'
import { printTime } from '../units.ts'

export interface Options {
  readonly follow?: boolean
}

interface EventJson {
  readonly id: string
  readonly action: string
  readonly message: string
  readonly created_at: string
}

const FIELDS = ['id', 'created_at', 'action', 'message']
const RETRY_MS = 1000

/** Lists what happened to an image; with `--follow` also what happens from now on, one line each. */
export async function run(session: Session, ids: readonly string[], options: Options) {
  const [id, ...more] = ids
  if (id === undefined || more.length > 0) throw new CommandError('You must specify one image')
  const { api } = await session.connect()
  // The image itself may be gone: its events are still there.
  try {
    if (options.follow) await follow(session, api, id)
    else await list(session, api, id)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw missingImage(`Couldn't find image ${id}`)
    throw error
  }
}

async function list(session: Session, api: Api, id: string) {
  const attempt = `list events of image ${id}`
  const events = await api.get<EventJson[]>(imagePath(id, '/events'), { attempt })
  const rows = events.map((event) => ({ ...event, created_at: printTime(event.created_at) }))
  session.printRows(FIELDS, rows, events)
}

/** Ends when the library closes the stream for good, which it does once nothing more can happen. */
async function follow(session: Session, api: Api, id: string) {
  let lastId: string | undefined
  for (;;) {
    try {
      const response = await openStream(api, id, lastId)
      for await (const event of readServerEvents(response.body)) {
        lastId = event.id ?? lastId
        const json = parseEvent(event.data)
        if (json) print(session, json)
      }
      if (response.body.complete) return
    } catch (error) {
      if (session.signal.aborted || !(error instanceof ConnectionAttemptError)) throw error
    }
    await sleep(RETRY_MS, undefined, { signal: session.signal })
  }
}

async function openStream(api: Api, id: string, lastId: string | undefined): Promise<HttpResponse> {
  const attempt = `follow events of image ${id}`
  const response = await api.raw('GET', imagePath(id, '/events'), {
    attempt,
    idleMs: 0,
    headers: { Accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'Last-Event-ID': lastId }) },
  })
  if (/^text\/event-stream\b/.test(response.headers['content-type'] ?? '')) return response
  response.body.destroy()
  throw new CommandError(`${attempt}: this library has no event stream`, {
    hint: `brightbox image events ${id} lists the events there are`,
  })
}

function parseEvent(data: string): EventJson | undefined {
  try {
    const json = JSON.parse(data) as Partial<EventJson>
    return typeof json.action === 'string' ? (json as EventJson) : undefined
  } catch {
    return undefined
  }
}

function print(session: Session, event: EventJson) {
  const { created_at, action, message } = event
  const line = session.options.json
    ? JSON.stringify(event)
    : [printTime(created_at), action, message].map((text) => printable(String(text ?? ''))).join('\t')
  session.terminal.out(`${line}\n`)
}
