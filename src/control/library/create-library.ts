import { createChanging } from './changing.ts'
import { type LibraryOptions, REGISTRATION, REMOVAL, SNAPSHOT } from './deps.ts'
import { Feed } from './feed.ts'
import type { Library } from './library.ts'
import { endOldUploads } from './old-uploads.ts'
import { ReaderPins } from './pins.ts'
import { ProgressBoard } from './progress-board.ts'
import { createReading } from './reading.ts'
import { Receiving } from './receiving.ts'
import { recover } from './recovery.ts'
import { RegistrationHandler } from './registration.ts'
import { createRemoval } from './removal.ts'
import { readRoots } from './roots.ts'
import { createServerTypes } from './server-types.ts'
import { createSnapshots } from './snapshots.ts'
import { UploadRoom } from './upload-room.ts'
import { createUploads } from './uploads.ts'

/** Removals are a few rows each. */
const REMOVAL_LIMITS = { concurrency: 2, perAccount: 1000 }
/** Beside registrations: slow downloads of an account must not keep layers of its servers frozen. */
const SNAPSHOT_LIMITS = { concurrency: 3, perAccount: 2 }

/** Joins the parts of the library. It does nothing by itself before `start`. */
export function createLibrary(options: LibraryOptions): Library {
  const { catalog, jobs, now, holder } = options
  const board = new ProgressBoard({ catalog, now })
  const feed = new Feed({ catalog })
  const receiving = new Receiving({ catalog })
  const room = new UploadRoom({ options })
  const pins = new ReaderPins({ catalog, holder, now })
  const handler = new RegistrationHandler({ options, board, feed, receiving, room })
  const { works = { registrations: true, snapshots: true } } = options
  if (works.registrations) {
    jobs.handle(REGISTRATION, handler, options.registrations)
    jobs.handle(REMOVAL, createRemoval({ now, feed }), REMOVAL_LIMITS)
  }
  // A snapshot is read from the disk of a server, which is where servers run.
  if (works.snapshots) jobs.handle(SNAPSHOT, handler, SNAPSHOT_LIMITS)
  const { setOfficial, ...changing } = createChanging({ options, board, feed, receiving, room })
  let subscription: Disposable | undefined
  return {
    ...createReading({ catalog, board, feed }),
    ...changing,
    uploads: createUploads({ options, board, feed, receiving, room }),
    snapshots: createSnapshots({ options, feed, room }),
    operator: {
      setOfficial,
      roots: () => readRoots(options),
      bytesOf: (tables, accountId) => room.bytesOf(tables, accountId),
      ...createServerTypes({ catalog }),
    },
    acquirePins: (manifests) => pins.acquire(manifests),
    async start() {
      await recover(options)
      await endOldUploads(options)
      jobs.start()
      // Those of other processes.
      subscription ??= catalog.onChange('events', () => feed.wake())
    },
    async [Symbol.asyncDispose]() {
      subscription?.[Symbol.dispose]()
      await pins[Symbol.asyncDispose]()
    },
  }
}
