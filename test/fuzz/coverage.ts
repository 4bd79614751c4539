import { Session } from 'node:inspector'

/** Tells which code of ours runs, on this thread. */
export interface Coverage {
  /** The places in the code that ran since the last call. */
  take(): Set<string>
}

/** Watches what runs, by V8's own counters; it does not see into WebAssembly. */
export function watchCoverage(): Coverage {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  return {
    take() {
      const places = new Set<string>()
      // The callback of a session on its own thread runs before `post` returns.
      session.post('Profiler.takePreciseCoverage', (_error, taken) => {
        for (const { url, functions } of taken?.result ?? []) {
          if (!url.includes('/src/')) continue
          for (const { ranges } of functions) {
            for (const { count, startOffset, endOffset } of ranges) {
              if (count > 0) places.add(`${url} ${startOffset} ${endOffset}`)
            }
          }
        }
      })
      return places
    },
  }
}
