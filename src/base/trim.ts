/**
 * A text without these characters at its end. A pattern such as `/ +$/` looks for its end from everywhere: texts of
 * strangers can make that take hours.
 */
export function trimEnd(text: string, characters: string): string {
  let end = text.length
  while (end > 0 && characters.includes(text.charAt(end - 1))) end--
  return text.slice(0, end)
}

/** The same at both ends. */
export function trimBoth(text: string, characters: string): string {
  let start = 0
  while (start < text.length && characters.includes(text.charAt(start))) start++
  return trimEnd(text.slice(start), characters)
}
