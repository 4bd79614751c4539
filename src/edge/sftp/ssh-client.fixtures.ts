import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import ssh2, { type ConnectConfig, type SFTPWrapper } from 'ssh2'

/** A client of the SSH library itself, logged in as `owner` unless `config` says otherwise. */
export async function logIn(t: TestContext, port: number, config: ConnectConfig) {
  const client = new ssh2.Client()
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  const failed = new Promise<never>((_resolve, reject) => client.on('error', reject))
  const ready = new Promise<void>((resolve) => client.once('ready', () => resolve()))
  client.connect({ host: '127.0.0.1', port, username: 'owner', password: 'secret', ...config })
  t.after(() => client.destroy())
  failed.catch(() => {})
  await Promise.race([ready, failed])
  client.setNoDelay(true)
  return { client, closed, sftp: () => openSftp(client) }
}

export async function openSftp(client: ssh2.Client) {
  const sftp: SFTPWrapper = await promisify(client.sftp.bind(client))()
  return {
    sftp,
    read: promisify<string, Buffer>(sftp.readFile.bind(sftp)),
    write: promisify<string, Buffer, void>(sftp.writeFile.bind(sftp)),
    list: promisify(sftp.readdir.bind(sftp)),
  }
}
