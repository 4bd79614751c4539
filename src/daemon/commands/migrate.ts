import { openCatalog, pendingMigrations } from '#control/catalog/catalog.ts'
import { type Flags, readConfig } from '../config.ts'
import { catalogPlace, demandLibrary } from '../data-folder.ts'

const EXIT_PENDING = 2

/** Brings the catalog's tables up to date, as a start would; with `check`, only says what that is going to be. */
export async function runMigrate(flags: Flags & { readonly check?: boolean }): Promise<void> {
  const config = readConfig(flags)
  if (!config.catalog) await demandLibrary(config.data)
  const place = catalogPlace(config)
  const pending = await pendingMigrations(place)
  for (const { name, onlyAdds } of pending)
    console.log(
      `${name}: ${onlyAdds ? 'only adds, processes of before go on' : 'stop all processes of before it first'}`,
    )
  if (pending.length === 0) console.log('the catalog is up to date')
  else if (flags.check) process.exitCode = EXIT_PENDING
  else {
    await (await openCatalog(place))[Symbol.asyncDispose]()
    console.log('done')
  }
}
