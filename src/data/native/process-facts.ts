/** The descriptor by which a decoder process speaks with its user. */
export const CONNECTION = 3

/** The program's exit code where it needed more heap than it may have. */
export const OUT_OF_MEMORY = 3
