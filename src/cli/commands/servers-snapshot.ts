import type { ServerJson } from '#schema/server.ts'
import { CommandError } from '../failure.ts'
import { getImage, printImages } from '../images.ts'
import { needServers, serverPath } from '../servers.ts'
import type { Connection, Session } from '../session.ts'
import { assertUsable, waitForImage } from '../wait.ts'

export interface Options {
  readonly wait?: boolean
}

/** Makes images of servers' disks as they are now. Prints nothing, as the official client; with `--wait` the images. */
export async function run(session: Session, ids: readonly string[], { wait }: Options) {
  if (ids.length === 0) throw new CommandError('You must specify servers to snapshot')
  const connection = await session.connect()
  const { api } = connection
  const servers: ServerJson[] = []
  const imageIds: string[] = []
  for (const { id } of await needServers(api, ids, (id) => `Couldn't find server ${id}`)) {
    session.terminal.info(`Snapshotting server ${id}`)
    const { server, imageId } = await snapshot(session, connection, id)
    servers.push(server)
    imageIds.push(imageId)
  }
  if (!wait) {
    if (session.options.json) session.printJson(servers.length === 1 ? servers[0] : servers)
    return
  }
  const images = []
  for (const id of imageIds) images.push(await waitForImage(session, api, await getImage(api, id)))
  await printImages(session, images, images.length === 1)
  images.forEach(assertUsable)
}

/** The image is named in a header alone: the server's list of them may have another one by now. */
async function snapshot({ http }: Session, { api }: Connection, id: string) {
  const attempt = `snapshot server ${id}`
  const response = await api.raw('POST', serverPath(id, '/snapshot'), { attempt })
  const server = JSON.parse(await http.text(response)) as ServerJson
  const imageId = /\/images\/([^>/]+)>; *rel="?snapshot"?/.exec(String(response.headers.link))?.[1]
  if (imageId === undefined)
    throw new CommandError(`${attempt}: the library did not say which image it makes`)
  return { server, imageId }
}
