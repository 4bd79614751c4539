import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ObjectRow } from '#control/orbit/orbit.ts'
import { escapeHtml, printDisabledPage, printListingPage } from './listing-page.ts'

const file = (name: string, bytes = 0, contentType = 'text/plain'): ObjectRow => ({
  kind: 'object',
  name,
  hash: '',
  bytes,
  contentType,
  modifiedAt: Date.UTC(2026, 10, 23, 4, 5, 6) * 1000,
  sloEtag: undefined,
})

const page = (rows: readonly ObjectRow[], prefix = '') =>
  printListingPage({ title: '/v1/a/c/', prefix, rows, css: '' })

/** Every tag that a page may have, with the attributes that we write. */
const TAGS =
  /<(?:!DOCTYPE html|\/?(?:html|head|body|title|h1|table|td|tr|th|a|p|b|style)(?: (?:id|class|type|href)="[^"<>]*")*)>/g

test('listing page: no name, type, title or label can write markup, whatever it is', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('<script>', '"\'>', '-->', ']]>', '&lt;'),
  )
  fc.assert(
    fc.property(text, text, text, text, (name, contentType, title, index) => {
      const rows: ObjectRow[] = [file(`p/${name}`, 1, contentType), { kind: 'subdir', name: `p/${name}/` }]
      const listing = printListingPage({ title, prefix: 'p/', rows, css: '' })
      for (const html of [listing, printDisabledPage(title, '', '', index)]) {
        const rest = html.replace(TAGS, '').replaceAll(/&(?:amp|lt|gt|quot|#x27|nbsp);/g, '')
        assert.ok(!/[<>]|&/.test(rest), JSON.stringify([name, contentType, title, index]))
      }
    }),
  )
})

test('listing page: a style sheet that the owner names cannot write markup either', () => {
  for (const css of ['"><script>', "x' onload='x", 'https://x/"><script>']) {
    const html = printListingPage({ title: '', prefix: '', rows: [], css })
    assert.match(html, /<link rel="stylesheet" type="text\/css" href="[^"'<>]*" \/>/)
    assert.ok(!html.includes('<script'))
  }
})

test('listing page: sizes are rounded step by step', () => {
  const sizes: [number, string][] = [
    [0, '0'],
    [1023, '1023'],
    [1024, '1Ki'],
    [1536, '2Ki'],
    [1024 ** 2 - 1, '1Mi'],
    [5 * 1024 ** 3, '5Gi'],
    [1024 ** 6, '1024Pi'],
  ]
  for (const [bytes, text] of sizes)
    assert.ok(page([file('x', bytes)]).includes(`<td class="colsize">${text}</td>`), text)
})

test('listing page: dates are in UTC, to the second', () => {
  assert.ok(page([file('x')]).includes('<td class="coldate">2026-11-23 04:05:06</td>'))
})

test('listing page: has a bounded length, however long and hostile the names are', () => {
  const rows = Array.from({ length: 10_000 }, (_, index) => file(`${index}${"'".repeat(1020)}`))
  assert.ok(page(rows).length < 9 * 1024 * 1024)
})

test('escaping: what is markup becomes text, the rest stays', () => {
  assert.equal(
    escapeHtml(`<a b="c" d='e'>&amp;</a>`),
    '&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;amp;&lt;/a&gt;',
  )
  assert.equal(escapeHtml('größe 語 🎉'), 'größe 語 🎉')
})
