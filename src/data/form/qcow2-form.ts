import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import type { Manifest } from '#data/manifest/manifest.ts'
import { type BlockLoader, type DiskBlock, loadPlain } from './disk-blocks.ts'
import { bytesOf, type Layout, type Loaded, letGo, type Piece } from './pieces.ts'
import {
  CLUSTER_SIZE,
  type ClusterRun,
  headerCluster,
  l1TableCluster,
  l2TableCluster,
  planQcow2,
  type Qcow2Plan,
  refcountBlockCluster,
  refcountTableCluster,
} from './qcow2-plan.ts'

const SECTOR_SIZE = 512
const CLUSTERS_PER_BLOCK = BLOCK_SIZE / CLUSTER_SIZE

interface Disk {
  readonly manifest: Manifest
  readonly loader: BlockLoader
  readonly plan: Qcow2Plan
}

/**
 * The disk as a qcow2 file whose every byte follows from the manifest and the blocks.
 * @throws invalid where the disk does not consist of sectors, as qcow2 disks must
 */
export async function qcow2Layout(manifest: Manifest, loader: BlockLoader): Promise<Layout> {
  if (manifest.diskSize % SECTOR_SIZE > 0)
    throw new LibraryError('invalid', `read ${manifest.diskSize} bytes as qcow2: not a multiple of 512`)
  const plan = await planOf(manifest)
  const disk = { manifest, loader, plan }
  return {
    size: plan.clusters * CLUSTER_SIZE,
    async *pieces(from) {
      for (let cluster = Math.floor(from / CLUSTER_SIZE); cluster < plan.data; cluster++) {
        const load = () => tableCluster(disk, cluster)
        yield { offset: cluster * CLUSTER_SIZE, length: CLUSTER_SIZE, load }
      }
      yield* dataPieces(disk, from)
    },
  }
}

async function planOf(manifest: Manifest): Promise<Qcow2Plan> {
  const { pageCount, diskSize, dataBlocks, blockCount } = manifest
  const regions: number[] = []
  for (let page = 0; page < pageCount; page++) if (!manifest.isZeroPage(page)) regions.push(page)
  let dataClusters = dataBlocks * CLUSTERS_PER_BLOCK
  // Only the last block may be shorter, so only there can clusters be missing.
  const lastLength = diskSize % BLOCK_SIZE
  if (lastLength > 0 && (await manifest.entry(blockCount - 1)))
    dataClusters -= CLUSTERS_PER_BLOCK - clustersOf(lastLength)
  return planQcow2({ diskSize, regionCount: pageCount, regions, dataClusters })
}

async function tableCluster(disk: Disk, cluster: number): Promise<Uint8Array> {
  const { plan } = disk
  if (cluster < plan.refcountTable) return headerCluster(plan)
  if (cluster < plan.refcountBlocks) return refcountTableCluster(plan, cluster - plan.refcountTable)
  if (cluster < plan.l1Table) return refcountBlockCluster(plan, cluster - plan.refcountBlocks)
  if (cluster < plan.l2Tables) return l1TableCluster(plan, cluster - plan.l1Table)
  return l2TableCluster(plan, await runsOf(disk.manifest, plan.regions[cluster - plan.l2Tables] ?? 0))
}

/** Where the data blocks of a region, which is a manifest page, lie on the disk and in the file. */
async function runsOf(manifest: Manifest, number: number): Promise<ClusterRun[]> {
  const page = await manifest.page(number)
  let data = manifest.dataBefore(number) * CLUSTERS_PER_BLOCK
  const runs: ClusterRun[] = []
  for (let index = page.first; index < page.first + page.count; index++) {
    if (!page.entry(index)) continue
    const count = clustersOf(blockLength(manifest.diskSize, index))
    runs.push({ guest: (index - page.first) * CLUSTERS_PER_BLOCK, data, count })
    data += CLUSTERS_PER_BLOCK
  }
  return runs
}

async function* dataPieces({ manifest, loader, plan }: Disk, from: number): AsyncGenerator<Piece> {
  const start = plan.data * CLUSTER_SIZE
  let rank = Math.max(0, Math.floor((from - start) / BLOCK_SIZE))
  if (rank >= manifest.dataBlocks) return
  const first = await manifest.findData(rank)
  for await (const entry of manifest.entries(first.index)) {
    const block = { ...entry, length: blockLength(manifest.diskSize, entry.index) }
    const length = clustersOf(block.length) * CLUSTER_SIZE
    yield { offset: start + rank * BLOCK_SIZE, length, load: (signal) => loadClusters(loader, block, signal) }
    rank++
  }
}

async function loadClusters(loader: BlockLoader, block: DiskBlock, signal: AbortSignal): Promise<Loaded> {
  const loaded = await loadPlain(loader, block, signal)
  const length = clustersOf(block.length) * CLUSTER_SIZE
  if (block.length === length) return loaded
  const padded = new Uint8Array(length)
  padded.set(bytesOf(loaded))
  letGo(loaded)
  return padded
}

function clustersOf(length: number): number {
  return Math.ceil(length / CLUSTER_SIZE)
}
