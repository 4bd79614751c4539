/** The program of a decoder process that begins with nothing. */
process.stdin.resume().on('close', () => process.exit())
