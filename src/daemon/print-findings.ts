import type { Finding, Findings } from '#data/disk/check-findings.ts'

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
