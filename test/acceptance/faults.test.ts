import { test } from 'node:test'
import { OPERATIONS, runWithFaults } from '../support/fault-operations.ts'
import { openFaultWorld } from '../support/fault-world.ts'

for (const operation of OPERATIONS) {
  test(`faults: ${operation.name} comes to its right end whichever call fails`, async (t) => {
    await using world = await openFaultWorld()
    let runs = 0
    const bytes = Buffer.alloc(2 ** 20 + 512, operation.name)
    for (let nth = 1; ; nth++) {
      const failed = await runWithFaults(world, operation, { bytes, due: [nth], kind: nth })
      if (failed.length === 0) break
      runs++
    }
    t.diagnostic(`${runs} calls failed, one at a time`)
  })
}
