import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePostgresUrl } from './postgres-url.ts'

test('address of a database: what libpq takes is taken, by TCP and by Unix socket', () => {
  for (const url of [
    'postgres://library@db.example.org/library',
    'postgresql://library@db.example.org:5433/library?connect_timeout=3',
    'postgres://[::1]/library',
    'postgres://library@/library?host=/run/postgresql',
    'postgres:///library?host=%2Frun%2Fpostgresql',
    'postgres://library@%2Frun%2Fpostgresql/library',
    'postgres://library@db/library?sslmode=verify-full&sslrootcert=/etc/ssl/ours.pem',
  ])
    assert.equal(parsePostgresUrl(url), url)
})

test('address of a database: a password is refused, wherever it stands', () => {
  for (const url of [
    'postgres://library:secret@db.example.org/library',
    'postgres://:secret@db.example.org/library',
    'postgres://library:@db.example.org/library',
    'postgres://library@db.example.org/library?password=secret',
    'postgres:///library?host=/run/postgresql&password=secret',
  ])
    assert.equal(parsePostgresUrl(url), undefined, url)
})

test('address of a database: what is no such address is refused', () => {
  for (const text of [
    '',
    'library',
    'mysql://db/library',
    'postgres:library',
    'postgres://a b/c',
    'postgres://h:x/d',
  ])
    assert.equal(parsePostgresUrl(text), undefined, text)
})

test('address of a database: whatever sslmode encrypts verifies whom it speaks to', () => {
  for (const mode of ['prefer', 'require', 'verify-ca', 'verify-full'])
    assert.equal(
      parsePostgresUrl(`postgres://db/library?sslmode=${mode}&port=5433`),
      'postgres://db/library?sslmode=verify-full&port=5433',
    )
  for (const mode of ['disable', 'no-verify'])
    assert.match(parsePostgresUrl(`postgres://db/library?sslmode=${mode}`) ?? '', new RegExp(`${mode}$`))
})
