/**
 * The descriptor by which a decoder process speaks with its user. Of the first three, libuv makes what a process
 * inherits wait in calls; as for the first, Node only writes to it from the other side.
 */
export const CONNECTION = 1

/** What a decoder says first of all, where its last words go: it has no rights any more, and begins. */
export const READY = 'ready\n'

/** The program's exit code where it needed more heap than it may have. */
export const OUT_OF_MEMORY = 3
