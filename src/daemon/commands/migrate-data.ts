import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { randomText } from '#model/ids.ts'
import { type Config, readConfig } from '../config.ts'
import { cancelMove, type MoveStep, move } from '../moving/move.ts'
import { EXIT_DAMAGED, printFindings } from '../print-findings.ts'
import { createProgressLine } from '../progress-line.ts'
import { untilSignal } from '../until-signal.ts'
import { printCopied } from './backup.ts'

export interface MigrateFlags {
  readonly from: string
  readonly to: string
  readonly prepare?: boolean
  readonly cancel?: boolean
  /** Bytes per second. */
  readonly rate?: number
}

/** Takes a library to another catalog and store. */
export async function runMigrateData(flags: MigrateFlags): Promise<void> {
  const [from, to] = [readPlace(flags.from), readPlace(flags.to)]
  if (flags.cancel) {
    await cancelMove({ from, to })
    console.log(`the library in ${flags.from} accepts changes again`)
    return
  }
  using line = createProgressLine(process.stderr)
  await move({
    ...{ from, to, name: resolve(flags.to), prepare: flags.prepare ?? false },
    holder: `move-${process.pid}-${randomText(10, randomBytes)}`,
    bytesPerSecond: flags.rate,
    onStep(step) {
      line[Symbol.dispose]()
      console.log(printStep(step, flags))
      if ('report' in step && printFindings(step.report).length > 0) process.exitCode = EXIT_DAMAGED
    },
    onProgress: (counts) => line.show(printCopied(counts)),
    signal: untilSignal(),
  })
}

/** A settings file, or a data folder of a library that is started with no other settings. */
function readPlace(place: string): Config {
  const isFile = statSync(place, { throwIfNoEntry: false })?.isFile() ?? false
  return readConfig(isFile ? { config: place } : { data: place })
}

function printStep(step: MoveStep, { from, to }: MigrateFlags): string {
  switch (step.kind) {
    case 'pass':
      return [
        `pass ${step.number}: ${printCopied(step.report)}, ${seconds(step.ms)}`,
        ...printFindings(step.report),
      ].join('\n')
    case 'standing still':
      return `the library in ${from} answers changes with 503 from now on, and goes on serving what is there`
    case 'moved':
      return [
        `the rest: ${printCopied(step.report)}`,
        ...printFindings(step.report),
        `moved the catalog, and read it back; all in ${seconds(step.ms)}`,
        `stop the library in ${from}, and start it in ${to}`,
      ].join('\n')
    case 'had moved':
      return `the library has moved to ${to} already`
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
