import swagger from '@fastify/swagger'
import type { FastifyPluginAsync } from 'fastify'
import type { App } from '#edge/http/app.ts'
import { AccountSchema, AccountUpdateSchema } from '#schema/account.ts'
import { ApiClientCreateSchema, ApiClientSchema, ApiClientUpdateSchema } from '#schema/api-client.ts'
import { EventSchema } from '#schema/event.ts'
import { ImageCreateSchema, ImageSchema, ImageUpdateSchema, UploadSchema } from '#schema/image.ts'
import { ServerTypeSchema, ZoneSchema } from '#schema/place.ts'
import { OAuthProblemSchema, ProblemSchema } from '#schema/problem.ts'
import { ServerCreateSchema, ServerSchema, ServerUpdateSchema } from '#schema/server.ts'
import { SshKeyCreateSchema, SshKeySchema } from '#schema/ssh-key.ts'
import { TokenRequestSchema, TokenSchema } from '#schema/token.ts'
import { UserSchema, UserUpdateSchema } from '#schema/user.ts'
import { VolumeSchema } from '#schema/volume.ts'
import { baseOf, requireToken } from './access.ts'
import { accountRoutes } from './accounts.ts'
import { apiClientRoutes } from './api-clients.ts'
import type { ApiDeps } from './api-deps.ts'
import { downloadRoutes } from './download.ts'
import { eventRoutes } from './events.ts'
import { imageRoutes } from './images.ts'
import { holdLongAnswers } from './long-answers.ts'
import { placeRoutes } from './places.ts'
import { serverRoutes } from './servers.ts'
import { sshKeyRoutes } from './ssh-keys.ts'
import { tokenRoutes } from './token.ts'
import { uploadRoutes } from './upload.ts'
import { userRoutes } from './users.ts'
import { volumeRoutes } from './volumes.ts'

const SCHEMAS = [
  AccountSchema,
  AccountUpdateSchema,
  ApiClientCreateSchema,
  ApiClientSchema,
  ApiClientUpdateSchema,
  EventSchema,
  ImageCreateSchema,
  ImageSchema,
  ImageUpdateSchema,
  OAuthProblemSchema,
  ProblemSchema,
  ServerCreateSchema,
  ServerSchema,
  ServerTypeSchema,
  ServerUpdateSchema,
  SshKeyCreateSchema,
  SshKeySchema,
  TokenRequestSchema,
  TokenSchema,
  UploadSchema,
  UserSchema,
  UserUpdateSchema,
  VolumeSchema,
  ZoneSchema,
]

const RESOURCES = [
  accountRoutes,
  apiClientRoutes,
  downloadRoutes,
  eventRoutes,
  imageRoutes,
  placeRoutes,
  sshKeyRoutes,
  userRoutes,
  volumeRoutes,
]

/** Adds the JSON API: `/token`, everything under `/1.0`, and its description. */
export async function addApi(app: App, deps: ApiDeps): Promise<void> {
  for (const schema of SCHEMAS) app.addSchema(schema)
  await app.register(swagger, {
    openapi: OPENAPI,
    refResolver: {
      buildLocalReference: (schema, _base, _fragment, index) => String(schema.$id ?? `def-${index}`),
    },
  })
  // A scope of its own where bodies are read in another way.
  const token: FastifyPluginAsync = (scope) => tokenRoutes(scope, deps)
  const upload: FastifyPluginAsync = async (scope) => uploadRoutes(scope, deps)
  const v1: FastifyPluginAsync = async (scope) => {
    scope.addHook('onRequest', requireToken(deps.auth))
    // Refused before anything is done: the answer could not be written.
    scope.addHook('onRequest', async (request) => void baseOf(request, deps))
    holdLongAnswers(scope)
    for (const addRoutes of RESOURCES) addRoutes(scope, deps)
    if (deps.runsServers ?? true) serverRoutes(scope, deps)
    await scope.register(upload)
  }
  await app.register(token)
  await app.register(v1, { prefix: '/1.0' })
  app.get('/', { schema: { hide: true } }, async () => ({
    name: 'image-library',
    version: deps.version,
    description: OPENAPI.info.title,
    api: '/1.0',
    openapi: '/openapi.json',
  }))
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}

const OPENAPI = {
  openapi: '3.1.0',
  info: {
    title: 'Image Library',
    version: '1.0',
    description:
      'Register server images from any URL, keep them safe, read them back in any form, build servers from ' +
      'them. Speaks the Brightbox API 1.0: its clients work unchanged, and what goes beyond it is additional ' +
      'fields that they ignore.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  servers: [{ url: '/', description: 'this library' }],
  components: {
    securitySchemes: {
      oauth: {
        type: 'oauth2' as const,
        flows: {
          clientCredentials: { tokenUrl: '/token', scopes: {} },
          password: { tokenUrl: '/token', refreshUrl: '/token', scopes: {} },
        },
      },
      basic: { type: 'http' as const, scheme: 'basic' },
    },
  },
}
