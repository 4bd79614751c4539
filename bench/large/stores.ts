import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startDaemon } from '../../test/support/daemon.ts'
import { createDatabase, type TestServer } from '../../test/support/postgres.ts'
import { createS3Place, KEYS, type TestObjectStore } from '../../test/support/radosgw.ts'
import { hold, printRow } from '../contest.ts'
import { makeBenchDisk } from '../disk.ts'
import { registerOnce, serveFolder } from '../registration.ts'
import { clearStore } from './clear-store.ts'
import { databasePid, objectStorePids, printBar, watchProcessor } from './measure.ts'

/** What the settings' guide says that one registration takes at most. */
const MIB_MOST = { folder: 400, s3: 450 }

const FORMS = {
  raw: 'disk.raw',
  qcow2: 'disk.qcow2',
  'raw.xz, many blocks': 'disk-blocks.raw.xz',
}

export interface StoresBench {
  readonly server: TestServer
  readonly objectStore: TestObjectStore
  readonly folder: string
  readonly rounds: number
  readonly diskMiB: number
  readonly dataMiB: number
}

/**
 * One registration at a time into an empty library, its blocks in S3 and in a folder in turn; with PostgreSQL both. The
 * seconds of processor of each part tell whether it was the object store that a registration waited for.
 */
export async function benchStores(options: StoresBench): Promise<void> {
  const { server, objectStore, folder, rounds, diskMiB, dataMiB } = options
  const disk = await makeBenchDisk(folder, diskMiB, dataMiB, Object.values(FORMS).slice(1))
  using web = await serveFolder(disk.folder)
  const peaks: Record<'s3' | 'folder', number> = { s3: 0, folder: 0 }

  const notes: string[] = []
  const beside = {
    'the object store': objectStorePids(objectStore.folder),
    PostgreSQL: [databasePid(server.folder)],
  }

  async function time(kind: keyof typeof peaks, name: string, url: string): Promise<number> {
    const data = await mkdtemp(join(folder, 'data-'))
    await using database = await createDatabase({ empty: true, server })
    const { bucket, prefix, endpoint, region } = await createS3Place()
    const address = `s3://${bucket}/${prefix}?endpoint=${endpoint}&region=${region}`
    try {
      await using daemon = await startDaemon({
        data,
        arguments: ['--catalog', database.url, ...(kind === 's3' ? ['--store', address] : [])],
        environment: {
          AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
          AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
        },
      })
      const used = watchProcessor({ 'the daemon': [daemon.process.pid ?? 0], ...beside })
      const { seconds, peakMiB } = await registerOnce(daemon, url)
      notes.push(`${name}, ${kind}: ${seconds.toFixed(1)} s, in which ${used()}`)
      peaks[kind] = Math.max(peaks[kind], peakMiB)
      return seconds
    } finally {
      await rm(data, { recursive: true, force: true })
      if (kind === 's3') await clearStore(address)
    }
  }

  console.log(`\n## Registrations into S3 and into a folder, disk of ${disk.dataMiB} MiB of data\n`)
  const rows: string[] = []
  for (const [name, file] of Object.entries(FORMS)) {
    const url = web.url(file)
    const contest = { name, ours: () => time('s3', name, url), theirs: () => time('folder', name, url) }
    const verdict = await hold(contest, rounds)
    rows.push(printRow(name, verdict, (seconds) => `${seconds.toFixed(2)} s`))
    printBar({ what: `registration into S3, ${name}`, value: verdict.ratio, unit: '×', least: 0.7 })
  }
  console.log('\n| | S3 | folder | how many times as fast S3 is |\n|---|---|---|---|')
  console.log(rows.join('\n'))
  console.log(`\n${notes.join('\n')}\n`)
  for (const kind of ['folder', 's3'] as const)
    printBar({
      what: `largest resident size, ${kind}`,
      value: peaks[kind],
      unit: ' MiB',
      most: MIB_MOST[kind],
    })
}
