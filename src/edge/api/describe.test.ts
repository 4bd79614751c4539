import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pino } from 'pino'
import { describeApi } from './describe.ts'

test('OpenAPI: the document that is checked in is the one that the schemas give', async () => {
  const text = readFileSync(new URL('../../../docs/api/openapi.json', import.meta.url), 'utf8')
  const document = JSON.parse(JSON.stringify(await describeApi(pino({ level: 'silent' }))))
  assert.deepEqual(JSON.parse(text), document, 'run "npm run openapi" and look at what changed')
})

test('OpenAPI: every reference leads somewhere, and every operation has a name of its own', async () => {
  const document = (await describeApi(pino({ level: 'silent' }))) as {
    openapi: string
    paths: Record<string, Record<string, { operationId?: string }>>
    components: { schemas: Record<string, unknown> }
  }
  assert.match(document.openapi, /^3\.1\./)
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)]
  assert.ok(references.length > 20)
  for (const [, name] of references) assert.ok(Object.hasOwn(document.components.schemas, name!), name)
  const names = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  )
  assert.ok(names.every(Boolean))
  assert.equal(new Set(names).size, names.length)
})
