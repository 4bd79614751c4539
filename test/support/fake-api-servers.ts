import type { ServerResponse } from 'node:http'
import type { FakeRequest } from './fake-api.ts'

type Json = Record<string, unknown>

export const FAKE_TYPES = [
  fakeType('typ-2gssd', '2gb.ssd', 2048, 61440),
  fakeType('typ-w0hf9', '1gb.ssd', 1024, 30720),
]

function fakeType(id: string, handle: string, ram: number, disk: number): Json {
  return {
    id,
    resource_type: 'server_type',
    url: `http://127.0.0.1/1.0/server_types/${id}`,
    name: `SSD ${ram / 1024}GB`,
    status: 'available',
    cores: 2,
    ram,
    disk_size: disk,
    handle,
    storage_type: 'local',
  }
}

export const FAKE_ZONES = ['gb1-b', 'gb1-a'].map((handle) => {
  const id = `zon-${handle.slice(-1).repeat(5)}`
  return { id, resource_type: 'zone', url: `http://127.0.0.1/1.0/zones/${id}`, handle }
})

/** A volume inside its server, as the API prints it. */
export const fakeVolume = (id: string, changes: Json = {}): Json => ({
  id,
  resource_type: 'volume',
  url: `http://127.0.0.1/1.0/volumes/${id}`,
  name: null,
  description: null,
  status: 'attached',
  boot: true,
  delete_with_server: true,
  encrypted: false,
  filesystem_label: null,
  filesystem_type: null,
  locked: false,
  serial: id,
  size: 30720,
  source: 'img-8yeen',
  source_type: 'image',
  storage_type: 'local',
  created_at: '2023-01-03T13:08:00.000Z',
  updated_at: '2023-01-03T13:08:00.000Z',
  deleted_at: null,
  fill: { bytes_done: 1073741824, bytes_total: 2147483648, percent: 50, stands_alone: false },
  ...changes,
})

/** A server as the API prints it. */
export const fakeServer = (id: string, changes: Json = {}): Json => ({
  id,
  resource_type: 'server',
  url: `http://127.0.0.1/1.0/servers/${id}`,
  name: 'archlinux test',
  status: 'active',
  locked: false,
  hostname: id,
  fqdn: `${id}.internal`,
  created_at: '2023-01-03T13:08:00.000Z',
  started_at: null,
  deleted_at: null,
  compatibility_mode: false,
  disk_encrypted: false,
  user_data: null,
  console_url: null,
  console_token: null,
  console_token_expires: null,
  image: { id: 'img-8yeen', resource_type: 'image', name: 'arch-latest' },
  server_type: FAKE_TYPES[1],
  zone: FAKE_ZONES[1],
  cloud_ips: [],
  interfaces: [{ id: id.replace('srv', 'int'), mac_address: '02:24:19:00:00:01', ipv4_address: null }],
  snapshots: [],
  server_groups: [],
  volumes: [fakeVolume(id.replace('srv', 'vol'))],
  accelerator: 'tcg',
  ssh_host: '127.0.0.1',
  ssh_port: 22000,
  trouble: null,
  ...changes,
})

export interface FakeServers {
  readonly servers: Map<string, Json>
  readonly volumes: Map<string, Json>
  /** Answers what is about servers; undefined where something is not. */
  answer(path: string, request: FakeRequest, base: string): FakeServerAnswer | undefined
}

export interface FakeServerAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
}

const MISSING: FakeServerAnswer = {
  status: 404,
  body: { error_name: 'missing_resource', errors: ['Resource not found using supplied identifier'] },
}

/** What becomes of a server; the answer is as it was asked, as the real service answers. */
const ACTIONS: Readonly<Record<string, Json>> = {
  start: { status: 'active' },
  stop: { status: 'inactive' },
  shutdown: { status: 'inactive' },
  reboot: {},
  reset: {},
}

export function createFakeServers(): FakeServers {
  const servers = new Map<string, Json>()
  const volumes = new Map<string, Json>()
  const read = (found: unknown): FakeServerAnswer =>
    found === undefined ? MISSING : { status: 200, body: found }

  function build(body: Json): FakeServerAnswer {
    const { server_type: type, zone, image, volumes: disks, ...attributes } = body
    const id = `srv-8gbi${6 + servers.size}`
    const imageId = image ?? (disks as { image: string }[])[0]?.image
    const server = fakeServer(id, {
      ...attributes,
      status: 'creating',
      server_type: FAKE_TYPES.find((entry) => entry.id === type),
      zone: FAKE_ZONES.find((entry) => entry.id === zone) ?? FAKE_ZONES[1],
      image: { id: imageId, resource_type: 'image' },
    })
    servers.set(id, { ...server, name: attributes.name ?? '' })
    return { status: 202, body: servers.get(id) }
  }

  function change(server: Json, action: string | undefined, request: FakeRequest, base: string) {
    const id = String(server.id)
    const set = (changes: Json, status: number, headers = {}): FakeServerAnswer => {
      servers.set(id, { ...server, ...changes })
      return { status, body: servers.get(id), headers }
    }
    if (action === undefined) {
      if (request.method === 'PUT') return set(JSON.parse(request.body), 200)
      if (request.method === 'DELETE') return set({ status: 'deleting' }, 202)
      return read(server)
    }
    if (action === 'lock_resource') return set({ locked: true }, 200)
    if (action === 'unlock_resource') return set({ locked: false }, 200)
    if (action === 'snapshot') return set({}, 202, { Link: `<${base}/1.0/images/img-snap1>; rel=snapshot` })
    if (action === 'activate_console') {
      const [console_url, console_token] = [`${base}/console/${id}`, 'a-token']
      return set({ console_url, console_token, console_token_expires: '2023-01-03T13:23:00Z' }, 202)
    }
    return ACTIONS[action] ? set(ACTIONS[action], 202) : MISSING
  }

  return {
    servers,
    volumes,
    answer(path, request, base) {
      const [, collection, id, action] =
        /^\/1\.0\/(servers|volumes|server_types|zones)(?:\/([^/]+))?(?:\/(\w+))?$/.exec(path) ?? []
      if (collection === 'server_types')
        return read(id ? FAKE_TYPES.find((type) => type.id === id) : FAKE_TYPES)
      if (collection === 'zones') return read(id ? FAKE_ZONES.find((zone) => zone.id === id) : FAKE_ZONES)
      if (collection === 'volumes') return read(id ? volumes.get(id) : [...volumes.values()])
      if (collection !== 'servers') return undefined
      if (id === undefined && request.method === 'POST') return build(JSON.parse(request.body))
      if (id === undefined) return read([...servers.values()])
      const server = servers.get(id)
      return server ? change(server, action, request, base) : MISSING
    },
  }
}

export function sendFakeAnswer(response: ServerResponse, { status, body, headers }: FakeServerAnswer): void {
  response.writeHead(status, { ...headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}
