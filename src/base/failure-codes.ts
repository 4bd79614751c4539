/**
 * Every reason why a registration or a snapshot ends as failed. The code stands in the API (`failure.code`), the
 * command line, the log and the tests, and never changes its meaning; docs/guides/refusals.md has the same words.
 */
export interface FailureRow {
  /** Which step finds it. */
  readonly step:
    | 'recognising'
    | 'reading the stream'
    | 'reading the qcow2'
    | 'limits'
    | 'fetching'
    | 'keeping'
  /** Completes `the image failed because of …`. */
  readonly means: string
  /** What its owner can do, one sentence; said where whoever refused has no better one. */
  readonly next: string
  /** Whether the library tries again by itself before the image fails: where it `may` pass, or `never`. */
  readonly retried: 'never' | 'may'
}

const CONVERT = 'Convert it to an image of its own: qemu-img convert -O qcow2.'
const DAMAGED = 'Compare its checksum with the publisher’s, then register it again.'
const REPACK = 'Compress it again with the defaults of the program.'

export const FAILURES = {
  empty: {
    step: 'recognising',
    means: 'no bytes, a compressed nothing, or a disk of size 0',
    next: 'Check the URL, and the build that made the image.',
    retried: 'never',
  },
  'not-an-image': {
    step: 'recognising',
    means: 'a web page, XML, JSON, a short text, or fewer than 512 bytes',
    next: 'Open the URL in a browser, or the file: it is often a login page, an error, or a list of checksums.',
    retried: 'never',
  },
  'unsupported-format': {
    step: 'recognising',
    means:
      'a VMDK, VDI, VHD, VHDX, QED, Parallels, DMG, WIM, LUKS, tar, OVA, zip, 7z, bzip2, lzip or lzma file',
    next: 'Unpack it, or convert it (qemu-img convert -O qcow2), and register that.',
    retried: 'never',
  },
  'unsupported-version': {
    step: 'recognising',
    means: 'qcow of a version other than 2 and 3',
    next: CONVERT,
    retried: 'never',
  },
  nested: {
    step: 'recognising',
    means: 'an image inside the image, or two layers of compression',
    next: 'Unpack it once and register what is inside.',
    retried: 'never',
  },
  polyglot: {
    step: 'recognising',
    means: 'the file has the signatures of two formats at once; two programs would see two disks',
    next: 'Do not use it; if it is yours, convert it to raw with the format that you mean (qemu-img convert -f …).',
    retried: 'never',
  },
  truncated: {
    step: 'reading the stream',
    means: 'the file ends before its own structure does',
    next: 'Compare its length with the publisher’s, then register it again.',
    retried: 'never',
  },
  'bad-stream': {
    step: 'reading the stream',
    means: 'the lz4, xz, gzip or zstd stream breaks its format',
    next: DAMAGED,
    retried: 'never',
  },
  checksum: {
    step: 'reading the stream',
    means: 'a checksum inside the file, or the one given by --checksum, is wrong',
    next: 'Compare its checksum with the publisher’s: that of the file as it is downloaded, before it is unpacked.',
    retried: 'never',
  },
  'size-mismatch': {
    step: 'reading the stream',
    means: 'the stream says another length than it has',
    next: DAMAGED,
    retried: 'never',
  },
  'trailing-garbage': {
    step: 'reading the stream',
    means: 'something follows the end of the compressed image',
    next: 'Cut it off, or compress the image again.',
    retried: 'never',
  },
  'unsupported-stream': {
    step: 'reading the stream',
    means: 'a feature of lz4, xz, gzip or zstd that is not read: a dictionary, an x86 filter, a reserved bit',
    next: REPACK,
    retried: 'never',
  },
  'backing-file': {
    step: 'reading the qcow2',
    means: 'only a difference to another image',
    next: CONVERT,
    retried: 'never',
  },
  'external-data': {
    step: 'reading the qcow2',
    means: 'its data lie in another file',
    next: CONVERT,
    retried: 'never',
  },
  encrypted: {
    step: 'reading the qcow2',
    means: 'encrypted by qcow2 (encryption inside the system is no obstacle)',
    next: 'Convert it first, giving qemu-img the key: qemu-img convert -O qcow2.',
    retried: 'never',
  },
  'unknown-feature': {
    step: 'reading the qcow2',
    means: 'it needs a feature that we do not know',
    next: CONVERT,
    retried: 'never',
  },
  'unsupported-compression': {
    step: 'reading the qcow2',
    means:
      'compressed by something else than deflate or zstd, or header and feature bit contradict each other',
    next: CONVERT,
    retried: 'never',
  },
  'marked-corrupt': {
    step: 'reading the qcow2',
    means: 'QEMU marked it as corrupt',
    next: 'Repair it (qemu-img check -r all), then look whether it is still good.',
    retried: 'never',
  },
  'bad-header': {
    step: 'reading the qcow2',
    means: 'a field of the header has a value that the format forbids',
    next: 'Make it anew; if qemu-img check likes it, tell the operator.',
    retried: 'never',
  },
  'bad-size': {
    step: 'reading the qcow2',
    means: 'the virtual size is no multiple of 512 bytes',
    next: 'Make its size a multiple of 512 bytes: qemu-img resize.',
    retried: 'never',
  },
  'bad-table': {
    step: 'reading the qcow2',
    means: 'the place or the size of a table is wrong',
    next: 'Check the image (qemu-img check), and convert it again from the original.',
    retried: 'never',
  },
  'bad-entry': {
    step: 'reading the qcow2',
    means: 'a table points at a wrong place, or sets a reserved bit',
    next: 'Check the image (qemu-img check), and convert it again from the original.',
    retried: 'never',
  },
  overlap: {
    step: 'reading the qcow2',
    means: 'two parts of the disk, or data and tables, share a place in the file',
    next: 'Copy the image to a new file and register that: qemu-img convert -O qcow2.',
    retried: 'never',
  },
  'bad-cluster': {
    step: 'reading the qcow2',
    means: 'a compressed cluster cannot be decoded',
    next: 'Convert it again from the original.',
    retried: 'never',
  },
  'too-large': {
    step: 'limits',
    means: 'the download, the disk, or what comes out of the decoder is over its limit',
    next: 'Make the disk smaller (qemu-img resize --shrink after its file systems), or ask the operator.',
    retried: 'never',
  },
  'memory-limit': {
    step: 'limits',
    means: 'decoding needs more memory than allowed: a dictionary, a window, too many separate pieces',
    next: REPACK,
    retried: 'never',
  },
  quota: {
    step: 'limits',
    means: 'the account would hold more data than it may',
    next: 'Destroy images that are no longer needed, or ask the operator for a larger quota.',
    retried: 'never',
  },
  source: {
    step: 'fetching',
    means:
      'the bytes did not come: no such host, an HTTP status, a certificate, silence, an upload never finished',
    next: 'Check the URL and its server, then register the image again.',
    retried: 'may',
  },
  machine: {
    step: 'keeping',
    means:
      'the library’s machine had no process, thread, file or memory left, or ended the process that decoded the image',
    next: 'Try again later; if that ends in the same way, tell the operator, whose log says more.',
    retried: 'may',
  },
  storage: {
    step: 'keeping',
    means: 'the library could not write or read its own store',
    next: 'Tell the operator, whose log says more; once the storage is well, try again.',
    retried: 'may',
  },
  internal: {
    step: 'keeping',
    means: 'a bug',
    next: 'Tell the operator, whose log says more.',
    retried: 'never',
  },
} as const satisfies Readonly<Record<string, FailureRow>>

export type FailureCode = keyof typeof FAILURES

/** Those in the order of the table. */
export const FAILURE_CODES = Object.keys(FAILURES) as readonly FailureCode[]
