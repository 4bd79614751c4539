import type { Server, ServerTrouble } from '#model/server.ts'
import { type Context, folderOf, ownerOf } from './context.ts'
import type { HeldWatch } from './held.ts'
import type { Machine, MachineEnd, UnixUser } from './qemu/machine.ts'
import type { SerialConsole } from './serial-console.ts'

/** What this process knows of one server besides the catalog; only the server's worker changes it. */
export interface Runtime {
  readonly id: string
  readonly folder: string
  readonly owner: UnixUser | undefined
  /** Whether it was looked if a machine runs in the folder: one that a process before us started. */
  looked: boolean
  running: Running | undefined
  /** What QEMU reads the image from while the base is not filled. */
  offered: AsyncDisposable | undefined
  /** Layers may not be as the catalog has them, or more files there than layers. */
  layersUnsure: boolean
  /** Breaks off the look under way: its start of QEMU. */
  look: AbortController | undefined
  /** Breaks off merging. */
  merging: AbortController | undefined
  /** How many wait for their turn and should not wait for a merge. */
  urgent: number
  /** Ports that QEMU did not get. */
  readonly takenPorts: Set<number>
  /** Looks at the server soon. */
  readonly wake: () => void
  /** Told of a machine that is gone. */
  readonly onEnd: (machine: Machine, end: MachineEnd) => void
}

/** A machine with what belongs to it. */
export interface Running {
  readonly machine: Machine
  readonly console: SerialConsole
  readonly held: HeldWatch
}

/** @param fresh nothing can run of it yet */
export function newRuntime(
  context: Context,
  server: Server,
  { fresh, wake, onEnd }: { fresh: boolean } & Pick<Runtime, 'wake' | 'onEnd'>,
): Runtime {
  return {
    id: server.id,
    folder: folderOf(context.options, server.id),
    owner: ownerOf(context.options, server),
    looked: fresh,
    running: undefined,
    offered: undefined,
    layersUnsure: !fresh,
    look: undefined,
    merging: undefined,
    urgent: 0,
    takenPorts: new Set(),
    wake,
    onEnd,
  }
}

/** What stands in the way of a server that runs, worst first. */
export function troubleOf(context: Context, runtime: Runtime, manifest: string): ServerTrouble | null {
  return runtime.running?.held.trouble ?? context.bases.troubleOf(manifest) ?? null
}

export async function endOffer(runtime: Runtime): Promise<void> {
  await runtime.offered?.[Symbol.asyncDispose]()
  runtime.offered = undefined
}
