import { MiB } from '#base/bytes.ts'
import { CommandError } from '../failure.ts'
import { openLocalFile } from '../local-file.ts'
import { parseObjectPlace, parsePlace, printPlace } from '../orbit.ts'
import { putFile } from '../put-file.ts'
import { checkOutput, saveToFile, saveToStdout, type Wanted } from '../save-download.ts'
import type { Session } from '../session.ts'
import { parseWhole, printBytes, printRate } from '../units.ts'

export interface PutOptions {
  readonly segmentSize?: string
}

/** Sends a file: `put FILE CONTAINER[/NAME]`; a NAME that ends with a slash is put before the file's own. */
export async function put(session: Session, args: readonly string[], options: PutOptions) {
  const [path, where, ...more] = args
  if (path === undefined || where === undefined || more.length > 0) {
    throw new CommandError('You must specify a file and a container', {
      hint: 'brightbox orbit put FILE CONTAINER/NAME',
    })
  }
  const { container, object = '' } = parsePlace(where)
  const segmentSize =
    options.segmentSize === undefined
      ? undefined
      : parseWhole(options.segmentSize, 'segment-size', 'MiB') * MiB
  if (segmentSize === 0) throw new CommandError('segment-size must be at least 1 MiB')
  await using file = await openLocalFile(path)
  const orbit = await (await session.connect()).orbit()
  const target = { container, object: object === '' || object.endsWith('/') ? object + file.name : object }
  const startedAt = Date.now()
  const hash = await putFile({ session, orbit, file, target, segmentSize })
  const rate = printRate(file.size, startedAt)
  session.terminal.info(`Uploaded ${path} to ${printPlace(target)}: ${printBytes(file.size)}, ${rate}`)
  const row = { container, name: target.object, bytes: file.size, hash }
  session.printRows(Object.keys(row), [row], row)
}

export interface GetOptions {
  readonly force?: boolean
}

/** Fetches an object: `get CONTAINER/NAME [FILE]`; goes on where an earlier run was cut off. */
export async function get(session: Session, args: readonly string[], options: GetOptions) {
  const [name, path, ...more] = args
  if (name === undefined || more.length > 0) {
    throw new CommandError('You must specify one object to download', {
      hint: 'brightbox orbit get CONTAINER/NAME FILE',
    })
  }
  const place = parseObjectPlace(name)
  const own = place.object.split('/').findLast((part) => part !== '') ?? ''
  const output = path ?? own
  await checkOutput(session, output, options)
  const orbit = await (await session.connect()).orbit()
  const wanted: Wanted = {
    session,
    what: name,
    label: own,
    // Swift leaves If-Range alone; If-Match gives a 412 where the object is another one by now.
    ask: (have) =>
      orbit.raw('GET', place, {
        attempt: `download ${name}`,
        headers: have === undefined ? {} : { Range: `bytes=${have.offset}-`, 'If-Match': have.etag },
      }),
  }
  if (output === '-') return saveToStdout(wanted)
  const startedAt = Date.now()
  const source = `${orbit.origin}${orbit.root}/${name}`
  const { size, etag, received } = await saveToFile(wanted, { output, source, sparse: true })
  session.terminal.info(
    `Downloaded ${name} to ${output}: ${printBytes(size)}, ${printRate(received, startedAt)}`,
  )
  if (session.options.json) session.printJson({ ...place, file: output, size, etag })
}
