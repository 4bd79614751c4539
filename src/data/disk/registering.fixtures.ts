/** A process that registers what a URL gives, into a folder. */
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { createIngest } from './ingest-runner.ts'

const [storePlace = '', spoolDirectory = '', url = ''] = process.argv.slice(2)
await createIngest({ storePlace, spoolDirectory, threads: 1 })(
  { source: { kind: 'http', url }, limits: DEFAULT_LIMITS, allowSource: ['127.0.0.0/8'] },
  { onProgress: () => {}, signal: new AbortController().signal },
)
