import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { median } from '../contest.ts'
import { cpuSeconds, spread } from './measure.ts'
import type { ManyImages } from './million.ts'
import type { Asked } from './requester.ts'

const execute = promisify(execFile)
const CONNECTIONS = 32

export interface RequestsBench {
  readonly rounds: number
  readonly seconds: number
}

/** Requests of one client process to one API process and to two, in turn. */
export async function benchRequests(
  { library, api, ids }: ManyImages,
  { rounds, seconds }: RequestsBench,
): Promise<void> {
  const second = await library.start('api')
  const both = [api, second]
  const lines = {
    'page of 50': ['/1.0/images?limit=50'],
    show: ids.slice(0, 200).map((id) => `/1.0/images/${id}`),
  }
  console.log(`\n## API requests a second, ${CONNECTIONS} connections\n`)
  console.log('| | 1 process | median, p99, worst, ms | 2 processes | median, p99, worst, ms | | processor |')
  console.log('|---|---|---|---|---|---|---|')
  const ask = async (paths: readonly string[], members: typeof both, forSeconds: number): Promise<Asked> => {
    const words = [api.token, String(forSeconds), String(CONNECTIONS), paths.join(',')]
    const script = join(import.meta.dirname, 'requester.ts')
    const all = [script, ...words, ...members.map(({ url }) => url)]
    const { stdout } = await execute(process.execPath, all, { maxBuffer: 1 << 28 })
    return JSON.parse(stdout)
  }
  for (const [name, paths] of Object.entries(lines)) {
    await ask(paths, both, 1)
    const rates: number[][] = [[], []]
    const ms: number[][] = [[], []]
    let used = 0
    for (let round = 0; round < rounds; round++) {
      for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
        const before = cpuSeconds(api.process.pid ?? 0)
        const asked = await ask(paths, both.slice(0, index + 1), seconds)
        if (index === 0) used = (cpuSeconds(api.process.pid ?? 0) - before) / asked.count
        rates[index]?.push(asked.count / asked.seconds)
        ms[index]?.push(...asked.ms)
      }
    }
    const [one = 0, two = 0] = rates.map(median)
    const [spreadOne, spreadTwo] = ms.map(spread).map((text) => text.replaceAll(' |', ','))
    console.log(
      `| ${name} | ${one.toFixed(0)}/s | ${spreadOne} | ${two.toFixed(0)}/s | ${spreadTwo} | ` +
        `**${(two / one).toFixed(2)}×** | ${(used * 1000).toFixed(2)} ms of the API's each |`,
    )
  }
  console.log('\nThe client, PostgreSQL and all API processes share these cores.')
  await second.end('SIGTERM')
}
