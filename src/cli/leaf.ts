import type { Command } from 'commander'
import type { Session } from './session.ts'

/** What a command does. */
export type Action<O> = (session: Session, args: readonly string[], options: O) => Promise<void>

/** Makes a command of the program: what it does is loaded when it runs. */
export type Leaf = <O>(command: Command, load: () => Promise<Action<O>>) => Command
