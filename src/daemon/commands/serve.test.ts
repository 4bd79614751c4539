import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { iniPath } from '../bootstrap.ts'
import { printStarted } from './serve.ts'

const data = mkdtempSync(join(tmpdir(), 'banner-'))
after(() => rmSync(data, { recursive: true }))
const place = { data, catalog: undefined }
const none = { sftp: undefined, nbd: undefined, metrics: undefined, bootstrapped: undefined }
const started = { url: 'http://127.0.0.1:8080', ...none }
const times = { noticeMs: 0, drainMs: 1, silenceMs: 1, connections: { total: 9, perAddress: 9 } }
const http = { host: '127.0.0.1', port: 8080, publicUrl: 'https://images.example.org', ...times }

test('banner: it names the listener and, beside it, the address that clients use', () => {
  assert.match(
    printStarted(started, { ...place, http }),
    /^The image library listens on http:\/\/127\.0\.0\.1:8080, is reached at https:\/\/images\.example\.org and/,
  )
  assert.doesNotMatch(printStarted(started, { ...place, http: { ...http, publicUrl: undefined } }), /reached/)
})

test('banner: it speaks of the configuration of the command line only where there is one', () => {
  const without = printStarted(started, { ...place, http })
  assert.match(without, /There is no configuration[\s\S]* client create --data \//)
  const catalog = { url: 'postgres://library:secret@db/library', connections: 12 }
  const elsewhere = printStarted(started, { data, catalog, http })
  assert.match(elsewhere, /There is no configuration[\s\S]* client create --config FILE/)
  assert.doesNotMatch(elsewhere, /secret/)
  assert.doesNotMatch(without, /export BRIGHTBOX_CONFIG/)
  writeFileSync(iniPath(data), '')
  assert.match(printStarted(started, { ...place, http }), /export BRIGHTBOX_CONFIG/)
})
