import { setTimeout as delay } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { DEVICE_IDS } from './arguments.ts'
import { DISK_NODES, exportNode, fileNode, layerNode, reopenedLayer } from './disk-nodes.ts'
import type { Pause } from './guest-agent.ts'
import { MACHINE_FILES } from './machine.ts'
import { fields, limitQmp, list, type Qmp, shortText } from './qmp.ts'

const MERGE_JOB = 'merge'
const POLL_MS = 50

/** A merge that reads over an export that is away ends when QEMU has waited long enough for that. */
const STOP_MS = 30_000

/** QEMU is done with any change in less than a second, but for what it merges. */
const CHANGE_MS = 60_000

/** Layers that a disk may have. */
const MOST_NODES = 64
const NAME = /^layer-\d{1,9}\.qcow2$/

/** What a guest's disk is made of, as QEMU has it, and the changes of that while the guest runs. */
export interface DiskGraph {
  layers(): Promise<readonly string[]>
  usesExport(): Promise<boolean>
  switchToBase(): Promise<void>
  addLayer(name: string, around: AroundLayer): Promise<Pause>
  mergeLayers(signal: AbortSignal): Promise<void>
}

/** What is done on this side of QEMU when a layer is added. */
export interface AroundLayer {
  /** Told the layer that the guest writes to until then. */
  before(top: string): Promise<void>
  /** Does the change while the guest's file systems are frozen, where they can be. */
  frozen(change: () => Promise<void>): Promise<Pause>
}

/**
 * Changes come one after the other. A merge, which takes long and can be done again, gives way to any other; so does
 * one that an earlier daemon began. Each change may find what a crash left of itself half done.
 */
export function createDiskGraph(qmp: Qmp): DiskGraph {
  let last: Promise<unknown> = Promise.resolve()
  let merge: AbortController | undefined

  const change = <T>(work: (limited: Qmp) => Promise<T>): Promise<T> => {
    merge?.abort(new LibraryError('conflict', 'merge layers: the disk is changed in another way'))
    const turn = last.then(async () => {
      const limited = limitQmp(qmp, CHANGE_MS)
      await stopJobs(limited)
      await dropUnused(limited)
      return work(limited)
    })
    last = turn.catch(() => {})
    return turn
  }

  return {
    layers: async () => (await readChain(qmp)).filter((name) => !isBelow(name)).reverse(),
    usesExport: async () => (await readChain(qmp)).includes(DISK_NODES.export),
    switchToBase: () => change(switchToBase),
    addLayer: (name, around) => change((limited) => addLayer(limited, name, around)),
    mergeLayers(signal) {
      const own = new AbortController()
      const turn = change(() => mergeLayers(qmp, AbortSignal.any([signal, own.signal])))
      merge = own
      return turn
    },
  }
}

const isBelow = (name: string) => name === DISK_NODES.base || name === DISK_NODES.export

/**
 * The nodes that the guest's disk is read through, highest first. Whoever took QEMU over says what he likes here, so
 * only names that we gave are believed: they become names of files.
 * @throws unavailable where there are others
 */
async function readChain(qmp: Qmp): Promise<string[]> {
  const devices = list(await qmp.execute('query-blockstats'))
  const ours = new RegExp(`(^|/)${DEVICE_IDS.disk}(/|$)`)
  const names: string[] = []
  let node = devices.find(({ qdev }) => typeof qdev === 'string' && ours.test(qdev))
  while (node?.backing || node?.['node-name']) {
    const name = shortText(node['node-name'])
    // QEMU puts nodes of its own, called by number, into the chain while it merges.
    if (!name.startsWith('#')) names.push(name)
    if (names.length > MOST_NODES) break
    node = node.backing ? fields(node.backing) : undefined
  }
  const [lowest = '', ...layers] = names.toReversed()
  const isOurs = layers.every((name) => NAME.test(name)) && new Set(layers).size === layers.length
  if (layers.length > 0 && isBelow(lowest) && isOurs && layers.length < MOST_NODES) return names
  throw new LibraryError('unavailable', 'ask QEMU for its disk: it has none that we made')
}

async function switchToBase(qmp: Qmp): Promise<void> {
  const chain = await readChain(qmp)
  const lowest = chain.at(-2)
  if (lowest === undefined || !chain.includes(DISK_NODES.export)) return
  await qmp.execute('blockdev-add', fileNode(DISK_NODES.base, MACHINE_FILES.base))
  const layer = reopenedLayer(lowest, { backing: DISK_NODES.base, isReadOnly: chain.length > 2 })
  await qmp.execute('blockdev-reopen', { options: [layer] })
  await qmp.execute('blockdev-del', { 'node-name': exportNode()['node-name'] })
}

async function addLayer(qmp: Qmp, name: string, around: AroundLayer): Promise<Pause> {
  const [top = ''] = await readChain(qmp)
  await around.before(top)
  await qmp.execute('blockdev-add', layerNode(name, { backing: null, isReadOnly: false }))
  return around.frozen(async () => {
    await qmp.execute('blockdev-snapshot', { node: top, overlay: name })
  })
}

async function mergeLayers(qmp: Qmp, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const [device, ...below] = (await readChain(qmp)).filter((name) => !isBelow(name))
  if (below.length < 2) return
  const ends = { 'top-node': below[0], 'base-node': below.at(-1) }
  await qmp.execute('block-commit', { 'job-id': MERGE_JOB, device, ...ends, 'auto-dismiss': false })
  for (;;) {
    const job = list(await qmp.execute('query-jobs')).find(({ id }) => id === MERGE_JOB)
    if (!job || job.status === 'concluded') {
      const limited = limitQmp(qmp, CHANGE_MS)
      await stopJobs(limited)
      if (job?.error !== undefined)
        throw new LibraryError('unavailable', `merge layers: ${shortText(job.error)}`)
      return dropUnused(limited)
    }
    if (signal.aborted) {
      await stopJobs(limitQmp(qmp, CHANGE_MS))
      throw signal.reason
    }
    await delay(POLL_MS)
  }
}

/** Ends what QEMU does in the background: until a merge is done, the chain is as it was. */
async function stopJobs(qmp: Qmp): Promise<void> {
  for (const until = performance.now() + STOP_MS; ; ) {
    const jobs = list(await qmp.execute('query-jobs'))
    if (jobs.length === 0) return
    if (performance.now() > until)
      throw new LibraryError('unavailable', `end what QEMU merges: it goes on for ${STOP_MS / 1000} s`)
    for (const { id, status } of jobs.slice(0, MOST_NODES)) {
      if (status === 'concluded') await qmp.execute('job-dismiss', { id })
      else if (status === 'running' || status === 'paused') await qmp.execute('job-cancel', { id })
    }
    await delay(POLL_MS)
  }
}

/** Closes what nothing reads any more: merged layers, an export after the switch, a change that a crash left half. */
async function dropUnused(qmp: Qmp): Promise<void> {
  const chain = new Set(await readChain(qmp))
  const nodes = list(await qmp.execute('query-named-block-nodes', { flat: true }))
  const unused = nodes
    .slice(0, 4 * MOST_NODES)
    .map((node) => shortText(node['node-name']))
    .filter((name) => isOurs(name) && !chain.has(name))
  // A layer that was merged is still read by the one that was above it, so that goes first.
  for (let before = -1; unused.length > 0 && unused.length !== before; ) {
    before = unused.length
    for (const name of [...unused]) {
      const isGone = await qmp.execute('blockdev-del', { 'node-name': name }).then(
        () => true,
        () => false,
      )
      if (isGone) unused.splice(unused.indexOf(name), 1)
    }
  }
}

/** Whether a node is a layer, a base or an export: not a file below one, nor QEMU's own, nor the seed. */
const isOurs = (name: string) => !name.startsWith('#') && !name.endsWith('-file') && name !== DISK_NODES.seed
