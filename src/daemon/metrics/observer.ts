import type { EndedAttempt } from '#control/jobs/queue.ts'
import type { CheckedFile } from '#data/disk/check-round.ts'
import type { ReadSoFar } from '#data/disk/checker.ts'
import type { Ingest, IngestPhase } from '#data/disk/ingest-types.ts'
import type { PoolObserver } from '#data/pool/lane.ts'
import type { StoreTime, StoreTimes } from '#data/store/measured.ts'
import type { RequestObserver } from '#edge/http/request-scope.ts'
import type { SftpObserver } from '#edge/sftp/session-processes.ts'
import { KNOWN, NEW } from './definitions.ts'
import type { Metrics } from './metrics.ts'

/** What the parts of the library tell whoever counts: it is wired in where they are put together. */
export interface Observer {
  readonly onStoreTime: (time: StoreTime) => void
  readonly onStoreTimes: (times: StoreTimes) => void
  readonly onAttempt: (attempt: EndedAttempt) => void
  /** @param failure the code where a registration failed */
  readonly onRegistrationEnded: (failure: string | undefined) => void
  /** The thread of a registration crashed. */
  readonly onRegistrationDeath: () => void
  readonly pool: PoolObserver
  readonly http: RequestObserver
  readonly sftp: SftpObserver
  readonly check: CheckObserver
  /** The same, counted. */
  readonly measureIngest: (ingest: Ingest) => Ingest
}

/** Who counts what the background check does. */
export interface CheckObserver {
  /** Since it was told last. */
  readonly onRead: (read: ReadSoFar) => void
  readonly onDamaged: (file: CheckedFile) => void
  readonly onMended: (file: CheckedFile) => void
  readonly onStoreTimes: (times: StoreTimes) => void
}

export function createObserver(metrics: Metrics): Observer {
  showZeros(metrics)
  const onStoreTime = (time: StoreTime) => countCall(metrics, time)
  const onStoreTimes = (times: StoreTimes) => times.forEach(onStoreTime)
  const died = (kind: (typeof MORTAL)[number], by = 1) =>
    metrics.add('image_library_thread_deaths_total', { kind }, by)
  return {
    onStoreTime,
    onStoreTimes,
    onAttempt({ kind, outcome: ended, ms }) {
      const outcome = ended.replace(' ', '_')
      metrics.add('image_library_job_attempts_total', { kind, outcome })
      metrics.observe('image_library_job_attempt_seconds', { kind }, ms / 1000)
    },
    onRegistrationEnded(failure) {
      const outcome = failure === undefined ? 'available' : 'failed'
      metrics.add('image_library_registrations_ended_total', { outcome, code: failure ?? '' })
    },
    onRegistrationDeath: () => died('registration'),
    pool: { onStoreTimes, onDeath: () => died('pool') },
    http: createRequestObserver(metrics),
    sftp: {
      onMeasured({ times, received, sent, deaths }) {
        onStoreTimes(times)
        metrics.add('image_library_sftp_bytes_total', { direction: 'received' }, received)
        metrics.add('image_library_sftp_bytes_total', { direction: 'sent' }, sent)
        died('pool', deaths)
      },
      onConnection(by) {
        metrics.shift('image_library_sftp_connections', {}, by)
        if (by > 0) metrics.add('image_library_sftp_connections_total', {})
      },
      onDeath: () => died('sftp'),
    },
    check: {
      onRead({ bytes, manifests, blocks }) {
        metrics.add('image_library_check_bytes_total', {}, bytes)
        metrics.add('image_library_check_files_total', { kind: 'manifest' }, manifests)
        metrics.add('image_library_check_files_total', { kind: 'block' }, blocks)
      },
      onDamaged: ({ kind }) => metrics.add('image_library_check_damaged_total', { kind }),
      onMended: ({ kind }) => metrics.add('image_library_check_mended_total', { kind }),
      onStoreTimes,
    },
    measureIngest: (ingest) => measureIngest(ingest, metrics, onStoreTimes),
  }
}

/** A rate needs a value before the first change. */
function showZeros(metrics: Metrics): void {
  for (const outcome of ['known', 'new']) {
    metrics.add('image_library_store_blocks_total', { outcome }, 0)
    metrics.add('image_library_store_bytes_total', { outcome }, 0)
  }
  for (const kind of ['block', 'manifest']) {
    metrics.add('image_library_check_files_total', { kind }, 0)
    metrics.add('image_library_check_damaged_total', { kind }, 0)
    metrics.add('image_library_check_mended_total', { kind }, 0)
  }
  for (const kind of MORTAL) metrics.add('image_library_thread_deaths_total', { kind }, 0)
  for (const direction of ['received', 'sent'])
    metrics.add('image_library_sftp_bytes_total', { direction }, 0)
  for (const phase of PHASES) metrics.set('image_library_registrations_running', { phase }, 0)
  metrics.add('image_library_registrations_ended_total', { outcome: 'available', code: '' }, 0)
}

/** Threads and processes that die by themselves. */
const MORTAL = ['pool', 'registration', 'sftp'] as const
const PHASES: readonly IngestPhase[] = ['connecting', 'receiving', 'decoding', 'saving']

function countCall(metrics: Metrics, { operation, seconds, bytes, outcome }: StoreTime): void {
  metrics.observe('image_library_store_operation_seconds', { operation }, seconds)
  const isKnown = operation === KNOWN && outcome === 'done'
  const isNew = NEW.includes(operation) && outcome === 'done'
  if (isKnown || isNew) {
    const labels = { outcome: isKnown ? 'known' : 'new' }
    metrics.add('image_library_store_blocks_total', labels)
    metrics.add('image_library_store_bytes_total', labels, bytes)
  } else if (outcome !== 'done' && outcome !== 'missing')
    metrics.add('image_library_store_failures_total', { operation, code: outcome })
}

function createRequestObserver(metrics: Metrics): RequestObserver {
  return {
    onBegun: (edge) => metrics.shift('image_library_http_requests_running', { edge }, 1),
    onAnswered({ edge, method, status, seconds, isLive }) {
      metrics.shift('image_library_http_requests_running', { edge }, -1)
      metrics.add('image_library_http_requests_total', { edge, method, status })
      if (!isLive) metrics.observe('image_library_http_request_seconds', { edge }, seconds)
    },
  }
}

function measureIngest(ingest: Ingest, metrics: Metrics, onStoreTimes: Observer['onStoreTimes']): Ingest {
  return async (request, options) => {
    let phase: IngestPhase = 'connecting'
    let received = 0
    const shift = (by: number) => metrics.shift('image_library_registrations_running', { phase }, by)
    shift(1)
    try {
      return await ingest(request, {
        ...options,
        onStoreTimes(times) {
          onStoreTimes(times)
          options.onStoreTimes?.(times)
        },
        onProgress(progress) {
          metrics.add(
            'image_library_source_received_bytes_total',
            {},
            Math.max(0, progress.received - received),
          )
          received = progress.received
          if (progress.phase !== phase) {
            shift(-1)
            phase = progress.phase
            shift(1)
          }
          options.onProgress(progress)
        },
      })
    } finally {
      shift(-1)
    }
  }
}
