import { KiB } from '#base/bytes.ts'

/** Where everything in a computed qcow2 file lies; see docs/design.md "Forms", "qcow2". */

export const CLUSTER_SIZE = 64 * KiB
const REFCOUNTS_PER_CLUSTER = CLUSTER_SIZE / 2
const ENTRIES_PER_CLUSTER = CLUSTER_SIZE / 8
const HEADER_LENGTH = 104
const REFCOUNT_BITS_LOG2 = 4
/** "This cluster's refcount is exactly one" (QEMU docs/interop/qcow2.txt, "L1 table entry", "L2 table entry"). */
const COPIED = 1n << 63n

/** Counts and first indexes of clusters, in the order in which they lie in the file. */
export interface Qcow2Plan {
  readonly diskSize: number
  /** The disk's 512 MiB regions that hold data, ascending; each has one L2 table, in this order. */
  readonly regions: readonly number[]
  readonly regionCount: number
  readonly refcountTable: number
  readonly refcountBlocks: number
  readonly l1Table: number
  readonly l2Tables: number
  readonly data: number
  /** All clusters of the file, and so its length. */
  readonly clusters: number
}

/**
 * @param regionCount 512 MiB regions of the disk, the last perhaps shorter
 * @param regions those that hold data
 * @param dataClusters clusters that the data blocks occupy
 */
export function planQcow2(disk: {
  diskSize: number
  regionCount: number
  regions: readonly number[]
  dataClusters: number
}): Qcow2Plan {
  const { diskSize, regionCount, regions, dataClusters } = disk
  const l1Clusters = Math.max(1, Math.ceil(regionCount / ENTRIES_PER_CLUSTER))
  const counted = 1 + l1Clusters + regions.length + dataClusters
  // The refcount blocks count themselves and their table, so both grow until they hold all.
  let tableClusters = 1
  let blocks = 1
  for (;;) {
    const needed = Math.ceil((counted + tableClusters + blocks) / REFCOUNTS_PER_CLUSTER)
    const tableNeeded = Math.ceil(needed / ENTRIES_PER_CLUSTER)
    if (needed === blocks && tableNeeded === tableClusters) break
    blocks = needed
    tableClusters = tableNeeded
  }
  const refcountTable = 1
  const refcountBlocks = refcountTable + tableClusters
  const l1Table = refcountBlocks + blocks
  const l2Tables = l1Table + l1Clusters
  const data = l2Tables + regions.length
  return {
    diskSize,
    regions,
    regionCount,
    refcountTable,
    refcountBlocks,
    l1Table,
    l2Tables,
    data,
    clusters: data + dataClusters,
  }
}

/** Version 3, no backing file, no feature bit, no header extension; QEMU docs/interop/qcow2.txt, "Header". */
export function headerCluster(plan: Qcow2Plan): Uint8Array {
  const { bytes, view } = newCluster()
  view.setUint32(0, 0x514649fb)
  view.setUint32(4, 3)
  view.setUint32(20, Math.log2(CLUSTER_SIZE))
  view.setBigUint64(24, BigInt(plan.diskSize))
  view.setUint32(36, plan.regionCount)
  view.setBigUint64(40, offsetOf(plan.l1Table))
  view.setBigUint64(48, offsetOf(plan.refcountTable))
  view.setUint32(56, plan.refcountBlocks - plan.refcountTable)
  view.setUint32(96, REFCOUNT_BITS_LOG2)
  view.setUint32(100, HEADER_LENGTH)
  return bytes
}

/** @param index which cluster of the refcount table */
export function refcountTableCluster(plan: Qcow2Plan, index: number): Uint8Array {
  const { bytes, view } = newCluster()
  const blocks = plan.l1Table - plan.refcountBlocks
  const first = index * ENTRIES_PER_CLUSTER
  for (let slot = 0; slot < Math.min(ENTRIES_PER_CLUSTER, blocks - first); slot++)
    view.setBigUint64(slot * 8, offsetOf(plan.refcountBlocks + first + slot))
  return bytes
}

/** @param index which refcount block; every cluster of the file is used once */
export function refcountBlockCluster(plan: Qcow2Plan, index: number): Uint8Array {
  const { bytes, view } = newCluster()
  const used = Math.min(REFCOUNTS_PER_CLUSTER, plan.clusters - index * REFCOUNTS_PER_CLUSTER)
  for (let slot = 0; slot < used; slot++) view.setUint16(slot * 2, 1)
  return bytes
}

/** @param index which cluster of the L1 table */
export function l1TableCluster(plan: Qcow2Plan, index: number): Uint8Array {
  const { bytes, view } = newCluster()
  const first = index * ENTRIES_PER_CLUSTER
  plan.regions.forEach((region, order) => {
    const slot = region - first
    if (slot >= 0 && slot < ENTRIES_PER_CLUSTER)
      view.setBigUint64(slot * 8, offsetOf(plan.l2Tables + order) | COPIED)
  })
  return bytes
}

/** Clusters of data that follow each other both on the disk and in the file. */
export interface ClusterRun {
  /** The first, counted within its region of the disk. */
  readonly guest: number
  /** The first, counted within the file's data. */
  readonly data: number
  readonly count: number
}

/** @param runs those of the table's region */
export function l2TableCluster(plan: Qcow2Plan, runs: readonly ClusterRun[]): Uint8Array {
  const { bytes, view } = newCluster()
  for (const { guest, data, count } of runs) {
    for (let cluster = 0; cluster < count; cluster++)
      view.setBigUint64((guest + cluster) * 8, offsetOf(plan.data + data + cluster) | COPIED)
  }
  return bytes
}

function newCluster(): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(CLUSTER_SIZE)
  return { bytes, view: new DataView(bytes.buffer) }
}

function offsetOf(cluster: number): bigint {
  return BigInt(cluster) * BigInt(CLUSTER_SIZE)
}
