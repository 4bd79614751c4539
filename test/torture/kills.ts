import assert from 'node:assert/strict'
import type { Attack, Round } from './attack.ts'
import { type Death, MortalLibrary } from './mortal-library.ts'

/** Deaths of the daemon between two looks at everything; looks before all is taken away. */
const LIVES = { short: 3, long: 6 }
const LOOKS = { short: 1, long: 4 }
/** Steps of a daemon from its start to the end of a life's work, at the most. */
const STEPS = 300

/**
 * Kills the daemon at single steps of its work and at random moments, again and again on one data folder, while images
 * come by URL, upload and from Orbit and go, and operators' commands run beside it and are killed too.
 */
export const kills: Attack = {
  name: 'kills',
  async run(round) {
    await using library = await MortalLibrary.open(round.random)
    const form = round.short ? 'short' : 'long'
    for (let look = 1; ; look++) {
      const deaths: string[] = []
      try {
        for (let life = 0; life < LIVES[form] && !round.signal.aborted; life++) {
          const death = drawDeath(round)
          if (await library.start(death)) await library.workUntilDeath()
          deaths.push(await library.lastWords())
          round.count('kills')
        }
        assert.ok(await library.start())
        round.count('registrations', await library.assertTrue())
      } catch (error) {
        throw new Error(`seed ${round.seed}, look ${look}, after ${deaths.join('; ')}`, { cause: error })
      }
      round.say(deaths.join('; '))
      if (round.signal.aborted || look === LOOKS[form]) break
      await library.end()
    }
    await library.assertNothingLeft()
  },
}

function drawDeath({ random }: Round): Death {
  if (random() < 0.3) return { ms: Math.floor(random() * 1500) }
  return { step: 1 + Math.floor(random() * STEPS) }
}
