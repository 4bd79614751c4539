/** Characters of a text that is looked for, and of what is kept of a name from one of its words on. */
export const WORDS_LENGTH_MAX = 255
/** As many as a name of 255 characters can have: two of three begin one in `-a -a`. One that grows may have more. */
const WORDS_MAX = 170

/** A word begins behind white space, and behind a sign, but for numbers such as 22.04 and 2026-11-23. */
const STARTS = /(?<!\S)\S|(?<![\p{L}\p{M}\p{N}])(?:\p{L}|(?<!\p{N}\S)\p{N})/gu

/** A name as it is compared: compatible forms as one (NFKC), without case, with single spaces. */
export const foldName = (text: string): string =>
  // Upper case first: it is where `ß` and `SS` meet; a sigma is another one at the end of a word.
  text
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .replaceAll('ς', 'σ')
    .normalize('NFKC')
    .replace(/\s+/gu, ' ')
    .trim()

/** The folded name from the start of each of its words on, each once; cut to `WORDS_LENGTH_MAX`. */
export function wordsOf(name: string): string[] {
  const folded = foldName(name)
  const starts = [...folded.matchAll(STARTS)].slice(0, WORDS_MAX)
  return [...new Set(starts.map(({ index }) => cut(folded.slice(index, index + 2 * WORDS_LENGTH_MAX))))]
}

/**
 * Of what `wordsOf` gives, the first by its bytes that begins so; undefined where nothing does.
 * @param beginning folded
 */
export function firstMatch(name: string, beginning: string): string | undefined {
  const matches = wordsOf(name).filter((words) => words.startsWith(beginning))
  return matches.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))[0]
}

const cut = (text: string): string => [...text].slice(0, WORDS_LENGTH_MAX).join('')
