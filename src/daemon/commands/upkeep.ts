import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { checkSmallObjects } from '#control/orbit/check-small-objects.ts'
import { check } from '#data/disk/check.ts'
import type { CheckReport } from '#data/disk/check-findings.ts'
import { sizeOfQuarantine } from '#data/store/open-store.ts'
import type { CheckState } from '../check-state.ts'
import { type Flags, readConfig } from '../config.ts'
import { nameRoots } from '../name-roots.ts'
import { count } from '../print-count.ts'
import { EXIT_DAMAGED, printChecked, printFindings, printProgress } from '../print-findings.ts'
import { createProgressLine } from '../progress-line.ts'
import { printRows } from '../rows.ts'
import { untilSignal } from '../until-signal.ts'
import { collectAlone } from '../upkeep.ts'
import type { Parts } from '../wire.ts'
import { wireCheck } from '../wire-check.ts'
import { withParts } from '../with-parts.ts'

export function setOfficial(id: string, official: boolean, flags: Flags): Promise<void> {
  return withParts(flags, async ({ library }) => {
    const image = await library.operator.setOfficial(id, official)
    console.log(`${image.id} (${image.name}) is ${image.official ? 'official' : 'not official'}`)
  })
}

export interface CheckFlags extends Flags {
  readonly status?: boolean
  readonly quarantine?: boolean
  /** Bytes per second. */
  readonly rate?: number
}

/** Verifies everything that is stored; also while the library runs. */
export function runCheck(flags: CheckFlags): Promise<void> {
  if (flags.status) return showCheckStatus(flags)
  return withParts(flags, async (parts) => {
    const report = await runCheckWithProgress(parts, flags)
    console.log(printReport(report, flags.quarantine ?? false))
    if (report.damaged.length + report.missing.length > 0) process.exitCode = EXIT_DAMAGED
    for await (const { path, why } of checkSmallObjects(parts.catalog)) {
      console.log(`damaged object ${path}: ${why}`)
      process.exitCode = EXIT_DAMAGED
    }
  })
}

/** Says how far the background check is, and what is known to be damaged; reads nothing that is stored. */
function showCheckStatus(flags: Flags): Promise<void> {
  return withParts(flags, async (parts, config) => {
    const { catalog } = parts
    const { states, records } = wireCheck(config, parts)
    const state = await states.read()
    console.log(state ? printState(state) : 'nothing was checked in the background yet')
    if (state?.stopped)
      console.log(`it could not go on at ${printTime(state.stopped.at)}: ${state.stopped.why}`)
    if (config.check.ageMs === undefined) console.log('the settings say that nothing is (check.age)')
    const damaged = await records.list()
    const named = damaged.length === 0 ? new Map() : await namesOf(catalog)
    for (const { kind, digest, why, foundAt, manifests } of damaged) {
      console.log(`damaged ${kind} ${digest}, found ${printTime(foundAt)}: ${why}`)
      for (const what of manifests.flatMap((manifest) => named.get(manifest) ?? []))
        console.log(`  needed by ${what}`)
    }
    for (const { path, why } of state?.objects ?? []) console.log(`damaged object ${path}: ${why}`)
    const { files, bytes } = await sizeOfQuarantine(parts.storePlace)
    if (files > 0) console.log(`${count(files, 'damaged file')} in the quarantine, ${count(bytes, 'byte')}`)
    if (damaged.length + (state?.objects ?? []).length > 0 || state?.stopped) process.exitCode = EXIT_DAMAGED
    else console.log('nothing is known to be damaged or missing')
  })
}

function printState({ startedAt, finishedAt, place, lastFinishedAt }: CheckState): string {
  const last = finishedAt ?? lastFinishedAt
  const before = last === null ? 'none ended yet' : `the last one ended ${printTime(last)}`
  if (finishedAt !== null) return `a round of the background check ended ${printTime(finishedAt)}`
  const share = Number.parseInt(place.digest.slice(0, 4) || '0', 16) / 0x10000
  const where = `${Math.floor(share * 100)} % of the ${place.kind}s`
  return `a round of the background check goes on since ${printTime(startedAt)}, at ${where}; ${before}`
}

const printTime = (at: number) => new Date(at).toISOString()

async function namesOf(catalog: Catalog): Promise<Map<string, string[]>> {
  const names = new Map<string, string[]>()
  for await (const { manifest, what } of nameRoots(catalog))
    names.set(manifest, [...(names.get(manifest) ?? []), what])
  return names
}

/** Reads an image's bytes once more, from a server's copy of the disk or its source, which mends it. */
export function repairImage(id: string, flags: Flags): Promise<void> {
  return withParts(flags, async (parts, config) => {
    const { checker, records, repair } = wireCheck(config, parts)
    const signal = untilSignal()
    const from = await repair(id, signal)
    for (const file of await checker.soundOf(await records.list(), signal)) await records.mended(file)
    console.log(`${id}: all its bytes were read again from ${from}, and are sound`)
  })
}

async function runCheckWithProgress(parts: Parts, flags: CheckFlags): Promise<CheckReport> {
  using line = createProgressLine(process.stderr)
  return await check({
    store: parts.store,
    roots: () => nameRoots(parts.catalog),
    quarantine: flags.quarantine ?? false,
    ...(flags.rate === undefined ? {} : { bytesPerSecond: flags.rate }),
    onProgress: (progress) => line.show(printProgress(progress)),
    signal: untilSignal(),
  })
}

function printReport(report: CheckReport, quarantined: boolean): string {
  const findings = printFindings(report)
  if (quarantined && report.damaged.length > 0) {
    findings.push(
      'moved what was read and is wrong to the quarantine; registering the same image again mends it',
    )
  }
  return printChecked(report, findings)
}

/** Longer than the lease of a collection that was killed. */
const PATIENCE_MS = 20_000

/** Deletes what nothing needs; also while the library runs. */
export function runCollect(flags: Flags & { readonly dryRun?: boolean }): Promise<void> {
  return withParts(flags, async (parts, { collect: { memory } }, log) => {
    const dryRun = flags.dryRun ?? false
    const result = await collectAlone(parts, {
      ...{ dryRun, memory, waitMs: PATIENCE_MS, log },
      signal: untilSignal(),
    })
    if (!result) {
      throw new LibraryError('conflict', 'collect: another collection of this library is under way', {
        hint: 'wait for that one to end',
      })
    }
    const verb = dryRun ? 'would delete' : 'deleted'
    console.log(
      `${verb} ${count(result.blocksRemoved, 'block')} and ${count(result.manifestsRemoved, 'manifest')}, ` +
        `${count(result.bytesRemoved, 'byte')}; ` +
        `${count(result.blocksKept, 'block')} and ${count(result.manifestsKept, 'manifest')} stay`,
    )
  })
}

export async function showConfig(flags: Flags): Promise<void> {
  const rows = readConfig(flags).effective.map(({ key, value, from }) => [key, '=', value, `(${from})`])
  console.log(printRows(['setting', '', 'value', 'from'], rows))
}
