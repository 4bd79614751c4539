import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isInstalled } from '../support/tools.ts'
import { type Case, Disagreement, type Verdict } from './target.ts'

/** Seconds that a program gets for one input, and KiB that it may write. */
const LIMIT_SECONDS = 10
const LIMIT_KIB = 64 * 1024

export interface OtherProgram {
  /** Its name, which is also looked for. */
  readonly program: string
  /** A line of shell: reads the file `$f`, writes `$f.out`. */
  readonly line: string
  /** Whether a rule of ours refuses what the program may well accept. */
  stricter(verdict: Verdict & { kind: 'refused' }, input: Uint8Array): boolean
  /** Whether the program is known to refuse what is right, by what it says. */
  wrong?(says: string, input: Uint8Array): boolean
  /** Whether it may give other bytes, though as many. */
  vague?(input: Uint8Array): boolean
}

/**
 * Has another program read all inputs, by one shell.
 * @throws Disagreement
 */
export function compareWith(other: OtherProgram, cases: readonly Case[], folder: string): void {
  if (!isInstalled(other.program) || cases.length === 0) return
  cases.forEach(({ input }, index) => {
    writeFileSync(join(folder, String(index)), input)
  })
  const each = `${other.line} 2> $f.err; echo $? > $f.status`
  const script = `ulimit -f ${LIMIT_KIB * 2}; for f in ${cases.map((_, index) => index).join(' ')}; do ${each}; done`
  spawnSync('sh', ['-c', script.replaceAll(other.program, `timeout ${LIMIT_SECONDS} ${other.program}`)], {
    cwd: folder,
    stdio: 'ignore',
  })
  cases.forEach(({ input, verdict }, index) => {
    const read = (ending: string) => readFileSync(join(folder, `${index}.${ending}`))
    const status = Number(read('status'))
    const says = read('err').toString('latin1').slice(0, 300)
    if (verdict.kind === 'refused') {
      if (status === 0 && !other.stricter(verdict, input)) {
        throw new Disagreement(
          input,
          `${other.program} accepts it; here: ${verdict.category}, ${verdict.message}`,
        )
      }
    } else if (status !== 0) {
      if (!other.wrong?.(says, input)) {
        throw new Disagreement(input, `${other.program} refuses it (${status}): ${says}`)
      }
    } else {
      const out = read('out')
      const agrees = other.vague?.(input) ? out.length === verdict.output.length : out.equals(verdict.output)
      if (!agrees) throw new Disagreement(input, `${other.program} reads other bytes`)
    }
  })
}
