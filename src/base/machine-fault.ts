import { type ErrorOptions, LibraryError } from './errors.ts'

/**
 * The machine had no process, thread, file or memory for what was to be done, or ended the process that did it. It is
 * nobody's fault who asked, and may go well later.
 */
export class MachineFault extends LibraryError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('unavailable', message, options)
    this.name = 'MachineFault'
  }
}
