import type { CheckProgress } from '#data/disk/check.ts'
import type { CheckReport, Finding, Findings } from '#data/disk/check-findings.ts'
import { count, printMib } from './print-count.ts'

/** How a command ends that found damage. */
export const EXIT_DAMAGED = 2

/** What is damaged or missing, and below each what needs it; nothing where nothing is. */
export function printFindings({ damaged, missing, truncated }: Findings): string[] {
  const list = (word: string, findings: readonly Finding[]) =>
    findings.flatMap(({ kind, digest, why, hurts }) => [
      `${word} ${kind} ${digest}: ${why}`,
      ...hurts.map((what) => `  needed by ${what}`),
    ])
  const more = truncated ? ['there is more; mend these and try again'] : []
  return [...list('damaged', damaged), ...list('missing', missing), ...more]
}

/** What a check found, and last how much of what it read is sound. */
export function printChecked(report: CheckReport, findings: readonly string[]): string {
  const [manifests, blocks] = [count(report.manifests, 'manifest'), count(report.blocks, 'block')]
  const read = `${manifests} and ${blocks} (${count(report.bytes, 'byte')}) are sound`
  return [...findings, findings.length === 0 ? `${read}; nothing is damaged or missing` : read].join('\n')
}

export const printProgress = ({ manifests, blocks, bytes }: CheckProgress): string =>
  `checked ${count(manifests, 'manifest')} and ${count(blocks, 'block')}, ${printMib(bytes)}`
