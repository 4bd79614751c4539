import type { StoreOperation } from '#data/store/measured.ts'

interface Definition {
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** One sentence, with its full stop. Units are in the name, by Prometheus's rules: seconds and bytes. */
  readonly help: string
  /** Of a few values each: never an id, a name, an address or a path. */
  readonly labels: readonly string[]
  /** Upper bounds, in seconds. */
  readonly buckets?: readonly number[]
}

/** Calls of a disk and of an object store far away. */
const CALL_SECONDS = [0.0005, 0.002, 0.005, 0.02, 0.05, 0.2, 0.5, 2, 5, 20, 60]
/** From a listing to the download of a large image. */
const REQUEST_SECONDS = [0.005, 0.02, 0.05, 0.2, 0.5, 2, 10, 60, 600]
const ATTEMPT_SECONDS = [0.1, 0.5, 2, 10, 30, 120, 600, 3600, 21_600]

/** Every metric of our own, by name; docs/guides/operations.md has the same table. */
export const METRICS = {
  image_library_info: {
    type: 'gauge',
    help: 'Always 1; the version that runs stands in the label.',
    labels: ['version'],
  },
  image_library_ready: {
    type: 'gauge',
    help: '1 while this process serves, 0 while /readyz says why it does not.',
    labels: [],
  },
  image_library_registrations_running: {
    type: 'gauge',
    help: 'Registrations and snapshots that run in this process, by phase.',
    labels: ['phase'],
  },
  image_library_registrations_ended_total: {
    type: 'counter',
    help: 'Registrations and snapshots that ended here: available, or failed with a code.',
    labels: ['outcome', 'code'],
  },
  image_library_source_received_bytes_total: {
    type: 'counter',
    help: 'Bytes that registrations read from their sources, each attempt anew.',
    labels: [],
  },
  image_library_jobs_waiting: {
    type: 'gauge',
    help: 'Jobs in the catalog that are due and that nobody holds, by kind.',
    labels: ['kind'],
  },
  image_library_jobs_running: {
    type: 'gauge',
    help: 'Jobs in the catalog that some process holds, by kind.',
    labels: ['kind'],
  },
  image_library_jobs_oldest_waiting_seconds: {
    type: 'gauge',
    help: 'For how long the oldest of the waiting jobs has been due, by kind; 0 where none waits.',
    labels: ['kind'],
  },
  image_library_job_attempts_total: {
    type: 'counter',
    help: 'Attempts at jobs that ended here: done, retried, failed, cancelled, lost, unsettled or given_back.',
    labels: ['kind', 'outcome'],
  },
  image_library_job_attempt_seconds: {
    type: 'histogram',
    help: 'How long attempts at jobs took.',
    labels: ['kind'],
    buckets: ATTEMPT_SECONDS,
  },
  image_library_store_operation_seconds: {
    type: 'histogram',
    help: 'How long calls of the store took, in all threads and processes of this library.',
    labels: ['operation'],
    buckets: CALL_SECONDS,
  },
  image_library_store_failures_total: {
    type: 'counter',
    help: 'Calls of the store that failed, by the code of the error.',
    labels: ['operation', 'code'],
  },
  image_library_store_blocks_total: {
    type: 'counter',
    help: 'Blocks that were to be stored: new, or known already.',
    labels: ['outcome'],
  },
  image_library_store_bytes_total: {
    type: 'counter',
    help: 'Bytes at rest of blocks that were to be stored: new, or known already.',
    labels: ['outcome'],
  },
  image_library_check_files_total: {
    type: 'counter',
    help: 'Stored files that the background check read: blocks and manifests.',
    labels: ['kind'],
  },
  image_library_check_bytes_total: {
    type: 'counter',
    help: 'Bytes at rest that the background check read.',
    labels: [],
  },
  image_library_check_damaged_total: {
    type: 'counter',
    help: 'Stored files that the background check found damaged or missing.',
    labels: ['kind'],
  },
  image_library_check_mended_total: {
    type: 'counter',
    help: 'Damaged files that were found sound again.',
    labels: ['kind'],
  },
  image_library_check_last_finished_timestamp_seconds: {
    type: 'gauge',
    help: 'When a round of the background check last ended; absent where none did yet.',
    labels: [],
  },
  image_library_damaged_files: {
    type: 'gauge',
    help: 'Stored files that something needs and that are damaged or missing now.',
    labels: [],
  },
  image_library_collection_last_finished_timestamp_seconds: {
    type: 'gauge',
    help: 'When a collection last ended; absent where none did yet.',
    labels: [],
  },
  image_library_collection_runs_total: {
    type: 'counter',
    help: 'Collections that ended, of whatever process.',
    labels: [],
  },
  image_library_collection_removed_bytes_total: {
    type: 'counter',
    help: 'Bytes at rest that collections removed, of whatever process.',
    labels: [],
  },
  image_library_http_requests_total: {
    type: 'counter',
    help: 'HTTP requests that ended, by edge, method and class of the status; gone where the client left before.',
    labels: ['edge', 'method', 'status'],
  },
  image_library_http_request_seconds: {
    type: 'histogram',
    help: 'How long HTTP requests took, with the sending of their answers; live streams are left out.',
    labels: ['edge'],
    buckets: REQUEST_SECONDS,
  },
  image_library_http_requests_running: {
    type: 'gauge',
    help: 'HTTP requests under way.',
    labels: ['edge'],
  },
  image_library_http_connections: {
    type: 'gauge',
    help: 'Open HTTP connections.',
    labels: [],
  },
  image_library_sftp_connections: {
    type: 'gauge',
    help: 'Open SFTP connections.',
    labels: [],
  },
  image_library_sftp_connections_total: {
    type: 'counter',
    help: 'SFTP connections that were let in.',
    labels: [],
  },
  image_library_sftp_bytes_total: {
    type: 'counter',
    help: 'Bytes of SFTP connections, as encrypted: received and sent.',
    labels: ['direction'],
  },
  image_library_nbd_connections: {
    type: 'gauge',
    help: 'Open connections to the NBD listener.',
    labels: [],
  },
  image_library_servers: {
    type: 'gauge',
    help: 'Servers in the catalog that are not deleted, by status.',
    labels: ['status'],
  },
  image_library_thread_deaths_total: {
    type: 'counter',
    help: 'Threads and processes that ended by themselves: of the pool, of a registration, of SFTP.',
    labels: ['kind'],
  },
  image_library_disk_free_bytes: {
    type: 'gauge',
    help: 'Free bytes of the file system that the data folder lies on.',
    labels: [],
  },
  image_library_disk_reserve_bytes: {
    type: 'gauge',
    help: 'Bytes of that file system that images leave free.',
    labels: [],
  },
  image_library_scrape_failures_total: {
    type: 'counter',
    help: 'Looks at the catalog or the disk for a scrape that failed; what they tell is absent then.',
    labels: ['look'],
  },
} as const satisfies Readonly<Record<string, Definition>>

export type MetricName = keyof typeof METRICS
type Names<T extends Definition['type']> = {
  [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never
}[MetricName]

export type CounterName = Names<'counter'>
export type GaugeName = Names<'gauge'>
export type HistogramName = Names<'histogram'>
export type LabelsOf<N extends MetricName> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>

/** Calls by which something is kept: a block that is claimed was known, one that is put is new. */
export const KNOWN: StoreOperation = 'block_claim'
export const NEW: readonly StoreOperation[] = ['block_put', 'block_mend']
