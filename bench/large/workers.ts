import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { startLargeLibrary } from '../../test/support/large-library.ts'
import type { TestServer } from '../../test/support/postgres.ts'
import type { TestObjectStore } from '../../test/support/radosgw.ts'
import { hold } from '../contest.ts'
import { serveFolder } from '../registration.ts'
import { clearStore } from './clear-store.ts'
import { databasePid, objectStorePids, printBar, watchProcessor } from './measure.ts'
import { registerAll } from './registering.ts'
import { makeSources } from './sources.ts'

/** The last place goes only to an account that runs none, so two of one account go on in each worker. */
const SETTINGS = {
  'registrations.threads': '1',
  'registrations.concurrent': '3',
  'registrations.per_account': '64',
}
/** Registered before the clock runs, for each worker. */
const WARM = 2

export interface WorkersBench {
  readonly server: TestServer
  readonly objectStore: TestObjectStore
  readonly folder: string
  readonly rounds: number
  readonly images: number
  readonly sizeMiB: number
}

/**
 * The same images by one worker and by two, each bound to one core, as one machine more has cores of its own. What is
 * beside them (API, PostgreSQL, object store, the images' web server) runs on all cores in either case: two workers
 * leave it nothing, which is counted against them.
 */
export async function benchWorkers(options: WorkersBench): Promise<void> {
  const { images, sizeMiB, rounds } = options
  const cores = availableParallelism()
  console.log(`\n## Registrations by 1 and 2 workers\n`)
  if (cores < 2) return console.log('left out: it takes two cores')
  const sources = await makeSources(options.folder, images + 2 * WARM, sizeMiB)
  using web = await serveFolder(sources.folder)
  const notes: string[] = []
  const beside = {
    'the object store': objectStorePids(options.objectStore.folder),
    PostgreSQL: [databasePid(options.server.folder)],
  }

  async function time(form: '' | '.xz', count: number): Promise<number> {
    const urls = sources.files.map((file) => web.url(file + form))
    const library = await startLargeLibrary({ server: options.server, settings: SETTINGS })
    try {
      const api = await library.start('api')
      const workers = await Promise.all(Array.from({ length: count }, () => library.start('worker')))
      const pids = workers.map(({ process: { pid = 0 } }) => pid)
      for (const [index, pid] of pids.entries())
        execFileSync('taskset', ['-acp', String(index % cores), String(pid)], { stdio: 'ignore' })
      await registerAll(api, urls.slice(images, images + WARM * count))
      const used = watchProcessor({ 'the workers': pids, ...beside })
      const { seconds } = await registerAll(api, urls.slice(0, images))
      const who = `${count} worker${count > 1 ? 's' : ''}`
      notes.push(`raw${form}, ${who}: ${seconds.toFixed(1)} s, in which ${used()}`)
      return seconds
    } finally {
      await library[Symbol.asyncDispose]()
      await clearStore(library.words.at(-1) ?? '')
    }
  }

  const rate = (seconds: number) => `${((60 * images) / seconds).toFixed(1)}/min`
  const lines: string[] = []
  for (const form of ['.xz', ''] as const) {
    const name = `${images} images raw${form} of ${sizeMiB} MiB`
    const contest = { name, ours: () => time(form, 2), theirs: () => time(form, 1) }
    const { ours, theirs, ratio, spread } = await hold(contest, rounds)
    const [low, high] = spread.map((one) => one.toFixed(2))
    lines.push(`| ${name} | ${rate(theirs)} | ${rate(ours)} | **${ratio.toFixed(2)}×** (${low}–${high}) |`)
    printBar({ what: `registrations, 2 workers of 1, raw${form}`, value: ratio, unit: '×', least: 1.6 })
  }
  console.log('\n| store in S3 | 1 worker | 2 workers | |\n|---|---|---|---|')
  console.log(lines.join('\n'))
  console.log(`\n${notes.join('\n')}`)
  console.log('a folder that several processes share is no store that the settings have')
}
