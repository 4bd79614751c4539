import { CommandError } from './failure.ts'
import { type ObjectPlace, type Orbit, printPlace } from './orbit.ts'

/**
 * Removes an object; of a static large one the segments too.
 * @param known whether it is one, where a listing has said so
 */
export async function removeObject(orbit: Orbit, place: ObjectPlace, known?: boolean): Promise<void> {
  const attempt = `remove ${printPlace(place)}`
  const isLarge = known ?? (await orbit.head(place, attempt))?.['x-static-large-object'] !== undefined
  if (!isLarge) return void (await orbit.text('DELETE', place, { attempt }))
  const text = await orbit.text('DELETE', place, {
    attempt,
    query: { 'multipart-manifest': 'delete' },
    headers: { Accept: 'application/json' },
  })
  const { Errors: errors = [] } = JSON.parse(text) as { Errors?: [string, string][] }
  const [first] = errors
  if (first) throw new CommandError(`${attempt}: ${first[0]}: ${first[1]}`)
}
