import { Refusal } from '#base/refusal.ts'

/** The file is shorter than its own tables say. @param size bytes the file has */
export function endsTooEarly(size: number): Refusal {
  return new Refusal('truncated', `The file ends too early (${size} bytes). Is the download complete?`)
}

/** Where a compressed cluster should begin there is no file any more. @param offset on the virtual disk */
export function endsBeforeCluster(offset: number): Refusal {
  const message = `The file ends before the compressed cluster at disk offset ${offset}. Is the download complete?`
  return new Refusal('truncated', message)
}

/** @param why which field and its value, for example `cluster_bits 22` */
export function badHeader(why: string): Refusal {
  return new Refusal('bad-header', `The qcow2 header is invalid: ${why}.`)
}

/** @param why in words, with the numbers */
export function badTable(table: 'L1' | 'refcount', why: string): Refusal {
  return new Refusal('bad-table', `The qcow2 ${table} table is invalid: ${why}.`)
}

/** @param offset where on the virtual disk the entry's range begins */
export function badEntry(table: 'L1' | 'L2', offset: number): Refusal {
  return new Refusal('bad-entry', `Invalid qcow2 ${table} entry for the disk offset ${offset}.`, {
    hint: 'Check the image: qemu-img check.',
  })
}

/** @param place offset in the file */
export function overlap(place: number): Refusal {
  return new Refusal('overlap', `Two parts of the image use the same place in the file (${place}).`, {
    hint: 'Copy the image to a new file and register that: qemu-img convert -O qcow2.',
  })
}

/** @param offset of the cluster on the virtual disk */
export function badCluster(offset: number, cause?: unknown): Refusal {
  const message = `The compressed cluster at disk offset ${offset} cannot be decoded.`
  return new Refusal('bad-cluster', message, cause === undefined ? {} : { cause })
}
