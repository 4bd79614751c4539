/** Every layer has this shape, since we make them: 64 KiB clusters, entries of 8 bytes. */
export const CLUSTER_BITS = 16
export const CLUSTER_SIZE = 1 << CLUSTER_BITS
/** Clusters that one L2 table covers: 512 MiB. */
export const TABLE_ENTRIES = CLUSTER_SIZE / 8
