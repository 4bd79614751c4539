import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { checkSmallObjects } from './check-small-objects.ts'
import { openOrbit } from './orbit.fixtures.ts'

test('check: small objects whose bytes changed, became fewer or are gone are told, and no others', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'check-'))
  const path = join(folder, 'catalog.db')
  const catalog = await openCatalog({ path })
  await using fixture = await openOrbit({ catalog })
  for (const name of ['changed', 'fewer', 'gone', 'sound', 'empty'])
    await fixture.put(name, name === 'empty' ? '' : name)
  await fixture.put('large', Buffer.alloc(20_000))
  assert.deepEqual(await Array.fromAsync(checkSmallObjects(catalog)), [])
  using database = new DatabaseSync(path)
  const bytesOf = (name: string) => `id = (select bytes_id from objects where name = '${name}')`
  database.exec(`update object_bytes set bytes = x'6368616e676564' || x'00' where ${bytesOf('fewer')}`)
  database.exec(`update object_bytes set bytes = cast('changes' as blob) where ${bytesOf('changed')}`)
  database.exec(`delete from object_bytes where ${bytesOf('gone')}`)
  const damaged = await Array.fromAsync(checkSmallObjects(catalog))
  const at = (name: string) => `${fixture.account}/c/${name}`
  assert.deepEqual(damaged, [
    { path: at('changed'), why: 'its bytes have another MD5' },
    { path: at('fewer'), why: '8 bytes are stored, it has 5' },
    { path: at('gone'), why: 'its bytes are gone' },
  ])
  await rm(folder, { recursive: true })
})
