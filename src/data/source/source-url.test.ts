import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSourceUrl, redactUrl } from './source-url.ts'

test('source URL: the rule that is broken is named', () => {
  const rules: readonly (readonly [string, RegExp])[] = [
    ['file:///etc/passwd', /does not begin with http/],
    ['ftp://example.com/a', /does not begin with http/],
    ['data:text/plain,x', /does not begin with http/],
    ['gopher://example.com/', /does not begin with http/],
    ['javascript:alert(1)', /does not begin with http/],
    ['example.com/image', /does not begin with http/],
    ['http:example.com', /does not begin with http/],
    ['', /does not begin with http/],
    ['http://', /cannot be read/],
    ['http://[::1', /cannot be read/],
    ['http://example.com:99999/', /cannot be read/],
    ['http://user@example.com/', /user name or a password/],
    ['http://user:secret@example.com/', /user name or a password/],
    ['https://:secret@example.com/', /user name or a password/],
    ['http://example.com/a\nb', /control character/],
    ['ht\ttp://example.com/', /control character/],
    ['http://example.com/\u0000', /control character/],
    ['http://example.com/\u009f', /control character/],
    [`http://example.com/${'a'.repeat(2048)}`, /longer than 2048/],
  ]
  for (const [text, message] of rules)
    assert.throws(() => parseSourceUrl(text), { code: 'invalid', message }, text)
})

test('source URL: only web ports are allowed', () => {
  for (const port of [22, 25, 53, 81, 1023, 2375, 3306, 5432, 6379, 6667, 11211, 27017]) {
    assert.throws(
      () => parseSourceUrl(`http://example.com:${port}/`),
      { code: 'invalid', message: /port/ },
      `${port}`,
    )
  }
  for (const port of [80, 443, 1024, 3000, 8000, 8080, 8443, 65535])
    parseSourceUrl(`http://example.com:${port}/`)
})

test('source URL: the IPv4 disguises come out as the address they mean', () => {
  for (const host of ['2130706433', '0x7f.1', '017700000001', '127.1', '１２７.０.０.１', '①②⑦.0.0.1']) {
    assert.equal(parseSourceUrl(`http://${host}/`).hostname, '127.0.0.1', host)
  }
})

test('source URL: a refusal never repeats the URL', () => {
  assert.throws(
    () => parseSourceUrl('http://user:hunter2@example.com/'),
    (error: Error) => !/hunter2/.test(error.message + error.stack),
  )
})

test('redacted URL: credentials, query values and fragment are gone', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['https://example.com/a/b.qcow2', 'https://example.com/a/b.qcow2'],
    ['https://user:pw@example.com/a', 'https://example.com/a'],
    ['https://example.com/a?sig=abc&x=1#top', 'https://example.com/a?sig=***&x=***'],
    ['https://example.com/a?token', 'https://example.com/a?***'],
    ['https://example.com/a?dG9rZW4=', 'https://example.com/a?***'],
    ['https://example.com/a?dG9rZW4==', 'https://example.com/a?***'],
    ['https://example.com/a?a=b=c', 'https://example.com/a?a=***'],
    ['https://example.com/a;sig=abc;v=1/b;c;d==e', 'https://example.com/a;sig=***;v=***/b;c;d=***'],
    ['https://example.com/a%3Bsig%3Dabc/b', 'https://example.com/a%3Bsig%3D***/b'],
    ['https://example.com/a=b/c', 'https://example.com/a=b/c'],
    ['https://example.com/a?', 'https://example.com/a'],
  ]
  for (const [url, shown] of cases) assert.equal(redactUrl(url), shown)
})
