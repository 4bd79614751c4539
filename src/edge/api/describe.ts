import { createApp } from '#edge/http/app.ts'
import { addApi } from './api.ts'
import type { ApiDeps } from './api-deps.ts'

/** The OpenAPI document of the API, made from the schemas that check requests; nothing listens or is opened. */
export async function describeApi(logger: Parameters<typeof createApp>[0]['logger']): Promise<object> {
  const app = await createApp({ logger })
  // Routes are described without being called, so that nothing behind them is needed.
  const nothing = {
    auth: {},
    library: { uploads: {} },
    stopping: new AbortController().signal,
  } as unknown as ApiDeps
  await addApi(app, nothing)
  await app.ready()
  const document = app.swagger()
  await app.close()
  return document
}
