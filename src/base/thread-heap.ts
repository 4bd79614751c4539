/** MiB of a thread's heap for young objects: what chunks and zlib leave behind is picked up soon, not after 50 MiB. */
export const YOUNG_MIB = 6
