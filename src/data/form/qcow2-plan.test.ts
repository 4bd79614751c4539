import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { GiB, KiB, MiB, TiB } from '#base/bytes.ts'
import { needs } from '../../../test/support/tools.ts'
import {
  CLUSTER_SIZE,
  headerCluster,
  l1TableCluster,
  l2TableCluster,
  planQcow2,
  type Qcow2Plan,
  refcountBlockCluster,
  refcountTableCluster,
} from './qcow2-plan.ts'

const qemuImg = needs('qemu-img')
const folder = mkdtempSync(join(tmpdir(), 'qcow2-plan-'))
const file = join(folder, 'disk.qcow2')
after(() => rmSync(folder, { recursive: true }))

const REGION = 512 * MiB

/** Writes all tables of a disk whose listed regions are full of data; the data clusters are a hole. */
function writeTables(diskSize: number, full: readonly number[]): Qcow2Plan {
  const clustersOf = (region: number) =>
    Math.ceil(Math.min(REGION, diskSize - region * REGION) / CLUSTER_SIZE)
  const dataClusters = full.reduce((sum, region) => sum + clustersOf(region), 0)
  const regionCount = Math.ceil(diskSize / REGION)
  const plan = planQcow2({ diskSize, regionCount, regions: full, dataClusters })
  const fd = openSync(file, 'w')
  const put = (cluster: number, bytes: Uint8Array) => {
    assert.equal(bytes.length, CLUSTER_SIZE)
    writeSync(fd, bytes, 0, bytes.length, cluster * CLUSTER_SIZE)
  }
  put(0, headerCluster(plan))
  for (let at = plan.refcountTable; at < plan.refcountBlocks; at++)
    put(at, refcountTableCluster(plan, at - plan.refcountTable))
  for (let at = plan.refcountBlocks; at < plan.l1Table; at++)
    put(at, refcountBlockCluster(plan, at - plan.refcountBlocks))
  for (let at = plan.l1Table; at < plan.l2Tables; at++) put(at, l1TableCluster(plan, at - plan.l1Table))
  let data = 0
  full.forEach((region, order) => {
    const count = clustersOf(region)
    put(plan.l2Tables + order, l2TableCluster(plan, [{ guest: 0, data, count }]))
    data += count
  })
  ftruncateSync(fd, plan.clusters * CLUSTER_SIZE)
  closeSync(fd)
  return plan
}

function assertClean(plan: Qcow2Plan, message: string): void {
  const { status, stdout } = spawnSync('qemu-img', ['check', '--output=json', '-f', 'qcow2', file])
  const report = JSON.parse(stdout.toString())
  assert.equal(status, 0, `${message}: ${stdout}`)
  assert.equal(report['check-errors'], 0, message)
  assert.equal(report.leaks, undefined, message)
  assert.equal(report['allocated-clusters'] ?? 0, plan.clusters - plan.data, message)
  assert.equal(report['image-end-offset'], plan.clusters * CLUSTER_SIZE, message)
}

test(
  'qcow2 plan: a sector, a cluster, a region and one sector more or less pass qemu-img check',
  qemuImg,
  () => {
    for (const size of [512, 64 * KiB, 64 * KiB + 512, MiB, REGION - 512, REGION, REGION + 512]) {
      const plan = writeTables(size, size > REGION ? [0, 1] : [0])
      assertClean(plan, `${size} bytes`)
      const info = JSON.parse(execFileSync('qemu-img', ['info', '--output=json', file]).toString())
      assert.equal(info['virtual-size'], size)
      assert.equal(info['cluster-size'], CLUSTER_SIZE)
      assert.equal(info['format-specific'].data.compat, '1.1')
      assert.equal(info['format-specific'].data['refcount-bits'], 16)
    }
  },
)

test('qcow2 plan: the clusters around a full refcount block are counted once each', qemuImg, () => {
  // header, refcount table, one refcount block, L1 table and five L2 tables leave this many for data
  const last = 32_768 - 9
  for (const clusters of [last - 1, last, last + 1, last + 2]) {
    const plan = writeTables(clusters * CLUSTER_SIZE, [0, 1, 2, 3].slice(0, Math.ceil(clusters / 8192)))
    assertClean(plan, `${clusters} data clusters`)
  }
  const fits = planQcow2({
    diskSize: 2 * GiB,
    regionCount: 5,
    regions: [0, 1, 2, 3, 4],
    dataClusters: last,
  })
  assert.equal(fits.clusters, 32_768)
  assert.equal(fits.l1Table - fits.refcountBlocks, 1)
  const over = planQcow2({ ...fits, dataClusters: last + 1 })
  assert.equal(over.clusters, 32_770)
  assert.equal(over.l1Table - over.refcountBlocks, 2)
})

test('qcow2 plan: a dense 64 GiB disk and a sparse 8 TiB one pass qemu-img check', qemuImg, () => {
  const dense = Array.from({ length: 128 }, (_, region) => region)
  assertClean(writeTables(64 * GiB, dense), 'dense')
  assertClean(writeTables(8 * TiB, [0, 8191, 8192, 16_383]), 'sparse')
})

test('qcow2 plan: a disk of zeros has its tables and nothing else', qemuImg, () => {
  const plan = writeTables(TiB, [])
  assertClean(plan, 'zeros')
  assert.equal(plan.clusters, 4)
})

test('qcow2 plan: refcounts need a second table cluster only past 16 TiB of file', () => {
  const planned = (dataClusters: number) =>
    planQcow2({ diskSize: 0, regionCount: 0, regions: [], dataClusters })
  for (const around of [32_768 * 8192 - 8195, 32_768 * 8192 - 1]) {
    const plan = planned(around)
    const blocks = plan.l1Table - plan.refcountBlocks
    const tables = plan.refcountBlocks - plan.refcountTable
    assert.equal(blocks, Math.ceil(plan.clusters / 32_768))
    assert.equal(tables, Math.ceil(blocks / 8192))
  }
})
