/** The columns of what is given; the rest stays as it is. Flags become 0 or 1, and objects JSON. */
export function toRow(record: object): Record<string, unknown> {
  const row: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) {
    const column = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    if (typeof value === 'boolean') row[column] = value ? 1 : 0
    else row[column] = typeof value === 'object' && value !== null ? JSON.stringify(value) : value
  }
  return row
}
