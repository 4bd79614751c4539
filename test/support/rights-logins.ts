import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import ssh2 from 'ssh2'
import { ask, connectTo, goData, greet } from '#edge/nbd/nbd.fixtures.ts'
import { OPTION } from '#edge/nbd/protocol.ts'
import { sftpPort } from './orbit.ts'
import type { RightsWorld } from './rights-world.ts'

/** Whether somebody is let in over SFTP, and may look at these paths. */
export async function trySftp(
  { daemon }: Pick<RightsWorld, 'daemon'>,
  who: { readonly id: string; readonly secret: string },
  paths: readonly string[] = [],
): Promise<boolean[] | undefined> {
  const client = new ssh2.Client()
  try {
    const isIn = await new Promise<boolean>((resolve) => {
      client.once('ready', () => resolve(true))
      client.on('error', () => resolve(false))
      client.once('close', () => resolve(false))
      const port = sftpPort(daemon)
      client.connect({ host: '127.0.0.1', port, username: who.id, password: who.secret, tryKeyboard: false })
    })
    if (!isIn) return undefined
    const sftp = await promisify(client.sftp.bind(client))()
    const look = promisify<string, unknown>(sftp.stat.bind(sftp))
    const seen: boolean[] = []
    for (const path of paths)
      seen.push(
        await look(path).then(
          () => true,
          () => false,
        ),
      )
    return seen
  } finally {
    client.destroy()
  }
}

/** What somebody is told who asks for an export by this name; undefined where it opens. */
export async function tryNbd(
  { daemon }: Pick<RightsWorld, 'daemon'>,
  name: string,
): Promise<string | undefined> {
  const url = /nbd:\/\/127\.0\.0\.1:[1-9]\d*/.exec(daemon.output())?.[0]
  if (!url) throw new Error(`no NBD listener:\n${daemon.output()}`)
  try {
    await promisify(execFile)('nbdinfo', ['--size', `${url}/${name}`])
    return undefined
  } catch (error) {
    return String(error instanceof Error && 'stderr' in error ? error.stderr : error).replaceAll(name, 'NAME')
  }
}

/** The answer to GO for an export by this name, in hex, its own name left out. */
export async function askNbd({ daemon }: Pick<RightsWorld, 'daemon'>, name: string): Promise<string> {
  const port = Number(/nbd:\/\/127\.0\.0\.1:([1-9]\d*)/.exec(daemon.output())?.[1])
  using client = await connectTo({ host: '127.0.0.1', port })
  await greet(client)
  const answers = await ask(client, OPTION.go, goData(name))
  return answers.map(({ reply, data }) => `${reply.toString(16)} ${data}`.replaceAll(name, 'NAME')).join('\n')
}
