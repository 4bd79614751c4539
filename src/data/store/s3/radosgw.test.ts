import { createS3Place, RADOSGW } from '../../../../test/support/radosgw.ts'
import { needs } from '../../../../test/support/tools.ts'
import { storeContract } from '../contract.ts'
import { createS3Client } from './client.ts'
import { createS3Store } from './store.ts'

storeContract(
  'radosgw',
  async () => {
    const { credentials, ...address } = await createS3Place()
    return createS3Store({ objects: createS3Client({ address, credentials: async () => credentials }) })
  },
  needs(...RADOSGW),
)
