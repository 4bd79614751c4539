import { CommandError } from './failure.ts'

/** The words of a command line, without what they do: enough to find the command that is meant. */
export interface CommandTree {
  readonly words: readonly string[]
  /** The subcommand where none is named. */
  readonly fallback?: string
  /** Options that take the next word as their value. */
  readonly valueOptions: ReadonlySet<string>
  readonly sub: ReadonlyMap<string, CommandTree>
}

/** Says which of `words` is meant: it itself, or the only one that begins so. */
export function matchWord(word: string, words: readonly string[]): string | undefined {
  if (words.includes(word)) return word
  const found = words.filter((other) => other.startsWith(word)).sort()
  if (found.length > 1) {
    throw new CommandError(`Ambiguous command '${word}'. It matches ${found.join(',')}`)
  }
  return found[0]
}

const isOption = (word: string): boolean => word.startsWith('-') && word !== '-'

/** The position of the first word that is neither an option nor its value, or -1. */
function findOperand(args: readonly string[], valueOptions: ReadonlySet<string>, from: number): number {
  for (let index = from; index < args.length; index++) {
    const word = args[index] ?? ''
    if (word === '--') return -1
    if (!isOption(word)) return index
    if (valueOptions.has(word)) index++
  }
  return -1
}

/**
 * Writes out what a person may shorten: `image` becomes `images`, `images img-3ikco` becomes
 * `images list img-3ikco`, `images reg` becomes `images register`.
 * @throws an error where a word fits several commands or none
 */
export function expandCommand(args: readonly string[], tree: CommandTree): string[] {
  const first = findOperand(args, tree.valueOptions, 0)
  if (first < 0) return [...args]
  const word = args[first] ?? ''
  const name = matchWord(word, tree.words)
  if (name === undefined) {
    throw new CommandError(`Unknown command '${word}'`, { hint: 'brightbox --help lists them' })
  }
  const group = tree.sub.get(name)
  const expanded = args.with(first, name)
  if (group?.fallback === undefined) return expanded
  const next = args[first + 1]
  if (next === '--help' || next === '-h') return expanded
  const second = next === undefined || isOption(next) ? undefined : matchSubcommand(next, group.words)
  if (second === undefined) return expanded.toSpliced(first + 1, 0, group.fallback)
  return expanded.with(first + 1, second)
}

/** What looks like an id is never a shortened command. */
function matchSubcommand(word: string, words: readonly string[]): string | undefined {
  return /^[a-z]{3}-/.test(word) ? undefined : matchWord(word, words)
}
