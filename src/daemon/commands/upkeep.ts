import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { checkSmallObjects } from '#control/orbit/check-small-objects.ts'
import { type CheckProgress, check } from '#data/disk/check.ts'
import type { CheckReport, CheckRoot, Finding } from '#data/disk/check-findings.ts'
import { collect } from '#data/disk/collect.ts'
import { type Flags, readConfig } from '../config.ts'
import { lockCollection } from '../data-lock.ts'
import { createProgressLine } from '../progress-line.ts'
import { printRows } from '../rows.ts'
import type { Parts } from '../wire.ts'
import { operatorSession, withParts } from '../with-parts.ts'

const EXIT_DAMAGED = 2

export function setOfficial(id: string, official: boolean, flags: Flags): Promise<void> {
  return withParts(flags, async ({ library }) => {
    const image = await library.operator.setOfficial(id, official)
    console.log(`${image.id} (${image.name}) is ${image.official ? 'official' : 'not official'}`)
  })
}

export interface CheckFlags extends Flags {
  readonly quarantine?: boolean
  /** Bytes per second. */
  readonly rate?: number
}

/** Verifies everything that is stored; also while the library runs. */
export function runCheck(flags: CheckFlags): Promise<void> {
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

async function runCheckWithProgress(parts: Parts, flags: CheckFlags): Promise<CheckReport> {
  using line = createProgressLine(process.stderr)
  return await check({
    store: parts.store,
    roots: () => nameRoots(parts),
    quarantine: flags.quarantine ?? false,
    ...(flags.rate === undefined ? {} : { bytesPerSecond: flags.rate }),
    onProgress: (progress) => line.show(printProgress(progress)),
    signal: untilSignal(),
  })
}

const printProgress = ({ manifests, blocks, bytes }: CheckProgress): string =>
  `checked ${count(manifests, 'manifest')} and ${count(blocks, 'block')}, ${Math.floor(bytes / MiB)} MiB`

/** Manifests of objects that are named at a time. */
const PAGE = 1000

/** The manifests that must be readable, by the images and objects that need them. */
async function* nameRoots({ auth, library, catalog }: Parts): AsyncGenerator<CheckRoot> {
  const { images, pins, objects } = catalog
  const unnamed = new Set([...(await images.listManifests()), ...(await pins.listManifests(Date.now()))])
  for (const account of await auth.operator.listAccounts()) {
    for (const { id, name, manifest, accountId } of await library.list(operatorSession(account.id))) {
      if (manifest === null || accountId !== account.id) continue
      unnamed.delete(manifest)
      yield { manifest, what: `${id} (${name})` }
    }
  }
  for (let page = await objects.listRoots(undefined, PAGE); page.length > 0; ) {
    for (const { manifest, accountId, container, object } of page) {
      unnamed.delete(manifest)
      yield { manifest, what: `${accountId}/${container}/${object}` }
    }
    page = await objects.listRoots(page.at(-1), PAGE)
  }
  for (const manifest of unnamed) yield { manifest, what: 'something that is being read or destroyed' }
}

const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`

function printReport(report: CheckReport, quarantined: boolean): string {
  const [manifests, blocks] = [count(report.manifests, 'manifest'), count(report.blocks, 'block')]
  const read = `${manifests} and ${blocks} (${count(report.bytes, 'byte')}) are sound`
  const list = (kind: string, findings: readonly Finding[]) =>
    findings.flatMap((finding) => [
      `${kind} ${finding.kind} ${finding.digest}: ${finding.why}`,
      ...finding.hurts.map((what) => `  needed by ${what}`),
    ])
  const findings = [...list('damaged', report.damaged), ...list('missing', report.missing)]
  if (quarantined && report.damaged.length > 0) {
    const moved = count(report.damaged.length, 'damaged file')
    findings.push(`moved ${moved} to the store's quarantine; registering the same image again mends it`)
  }
  if (report.truncated) findings.push('there is more; mend these and check again')
  return [...findings, findings.length === 0 ? `${read}; nothing is damaged or missing` : read].join('\n')
}

/** Deletes what nothing needs; also while the library runs. */
export function runCollect(flags: Flags & { readonly dryRun?: boolean }): Promise<void> {
  return withParts(flags, async ({ library, store }, { data }) => {
    using _lock = lockCollection(data)
    // The time before the roots, as `collect` asks for: what ends in between is covered by its start.
    const { unclaimedSince, manifests } = await library.operator.roots()
    const dryRun = flags.dryRun ?? false
    const result = await collect({ store, roots: manifests, unclaimedSince, dryRun, signal: untilSignal() })
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

/** Ends a long command where the first signal comes. */
function untilSignal(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => controller.abort(new LibraryError('unavailable', `ended by ${signal}`)))
  }
  return controller.signal
}
