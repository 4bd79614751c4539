import { resolve } from 'node:path'
import { type Flags, readConfig } from '../config.ts'
import { checkBackup, type Restored, restore } from '../moving/restore.ts'
import { count } from '../print-count.ts'
import { EXIT_DAMAGED, printChecked, printFindings, printProgress } from '../print-findings.ts'
import { createProgressLine } from '../progress-line.ts'
import { untilSignal } from '../until-signal.ts'
import { printCopied } from './backup.ts'

export interface RestoreFlags extends Flags {
  readonly snapshot?: string
  readonly despiteDamage?: boolean
  readonly check?: boolean
}

/** Makes a library of a backup, or verifies that this could be done. */
export async function runRestore(folder: string, flags: RestoreFlags): Promise<void> {
  const backup = resolve(folder)
  const signal = untilSignal()
  using line = createProgressLine(process.stderr)
  if (flags.check) {
    const report = await checkBackup(backup, (progress) => line.show(printProgress(progress)), signal)
    line[Symbol.dispose]()
    console.log(printChecked(report, printFindings(report)))
    if (report.damaged.length + report.missing.length > 0) process.exitCode = EXIT_DAMAGED
    return
  }
  const config = readConfig(flags)
  const restored = await restore({
    ...{ backup, config, signal },
    snapshot: flags.snapshot,
    despiteDamage: flags.despiteDamage ?? false,
    onProgress: (counts) => line.show(printCopied(counts)),
  })
  line[Symbol.dispose]()
  console.log(printRestored(restored, config.data))
  if (printFindings(restored.copied).length > 0) process.exitCode = EXIT_DAMAGED
}

function printRestored({ snapshot, contents, copied, isFilled }: Restored, data: string): string {
  const { servers, imagesUnderWay, damaged } = contents.leftOut
  const findings = printFindings(copied)
  const settings = Object.entries(contents.settings).map(([key, value]) => `  ${key} = ${value}`)
  const head = [printCopied(copied), ...findings]
  if (!isFilled) {
    const next = 'try another snapshot; or run the same again with --despite-damage for everything else'
    return [...head, `nothing of the catalog was restored: the backup is damaged. ${next}`].join('\n')
  }
  return [
    ...head,
    ...(damaged.length === 0
      ? []
      : ['damaged in the library already, and so not in the backup:', ...damaged]),
    ...servers.map(({ id, name }) => `not in the backup: ${id} (${name}), as its disk was not`),
    ...(imagesUnderWay === 0
      ? []
      : [`${count(imagesUnderWay, 'image')} had not come wholly, and will be shown as failed`]),
    ...(settings.length === 0 ? [] : ['the library had these settings:', ...settings]),
    `restored ${snapshot.name} to ${data}: the catalog and ${count(contents.disks, 'disk')}`,
  ].join('\n')
}
