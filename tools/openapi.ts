/** Writes the OpenAPI document, which a test compares with the schemas: `npm run openapi`. */
import { writeFileSync } from 'node:fs'
import { pino } from 'pino'
import { describeApi } from '#edge/api/describe.ts'

const path = new URL('../docs/api/openapi.json', import.meta.url)
writeFileSync(path, `${JSON.stringify(await describeApi(pino({ level: 'silent' })), null, 2)}\n`)
