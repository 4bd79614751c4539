import type { ObjectRow } from '#control/orbit/orbit.ts'
import { utf8Of } from './listing.ts'
import { encodePath } from './path.ts'
import { printIsoDate } from './times.ts'

/** A page shows no more rows than fit in so many characters: names full of what must be escaped grow ninefold. */
const PAGE_MAX = 8 * 1024 * 1024

/** What a web page that lists a container or a part of it shows. */
export interface ListingPage {
  readonly title: string
  /** Of the objects listed; empty for a whole container. */
  readonly prefix: string
  readonly rows: readonly ObjectRow[]
  /** A style sheet: an address, or an object of the container. */
  readonly css: string
}

/** Prints the page; every name is a stranger's. */
export function printListingPage({ title, prefix, rows, css }: ListingPage): string {
  let html = `${head(title, css, prefix)}  <h1 id="title">Listing of ${escapeHtml(title)}</h1>\n${TABLE}`
  if (prefix !== '') html += rowOf('item', '../', '../', '', '', ' id="parent"')
  const folders = rows.filter((row) => row.kind === 'subdir')
  const files = rows.filter((row) => row.kind === 'object')
  for (const row of [...folders, ...files]) {
    const name = row.name.slice(prefix.length)
    // The object that only marks the folder itself.
    if (name === '') continue
    html +=
      row.kind === 'subdir'
        ? rowOf('item subdir', hrefOf(name), name, '', '')
        : rowOf(`item ${typesOf(row.contentType)}`, hrefOf(name), name, sizeOf(row.bytes), dateOf(row))
    if (html.length > PAGE_MAX) break
  }
  return `${html}  </table>\n </body>\n</html>\n`
}

/** Prints the page for a folder that is not to be listed. */
export function printDisabledPage(title: string, prefix: string, css: string, index: string): string {
  const missing =
    index === ''
      ? ''
      : '  <h1>Index File Not Found</h1>\n' +
        `  <p>The owner of this site has set <b>X-Container-Meta-Web-Index: ${escapeHtml(index)}</b>, ` +
        'but there is no such file.</p>\n'
  return (
    `${head(title, css, prefix)}  <h1>Web Listing Disabled</h1>\n` +
    '  <p>The owner of this site has disabled listings.</p>\n' +
    `  <p>If it is yours, X-Container-Meta-Web-Listings enables them.</p>\n${missing} </body>\n</html>\n`
  )
}

const STYLE = `  <style type="text/css">
   h1 {font-size: 1em; font-weight: bold;}
   th {text-align: left; padding: 0px 1em 0px 1em;}
   td {padding: 0px 1em 0px 1em;}
   a {text-decoration: none;}
  </style>
`

const TABLE = `  <table id="listing">
   <tr id="heading">
    <th class="colname">Name</th>
    <th class="colsize">Size</th>
    <th class="coldate">Date</th>
   </tr>
`

function head(title: string, css: string, prefix: string): string {
  const style =
    css === '' ? STYLE : `  <link rel="stylesheet" type="text/css" href="${cssHref(css, prefix)}" />\n`
  const text = escapeHtml(title)
  return `<!DOCTYPE html>\n<html>\n <head>\n  <title>Listing of ${text}</title>\n${style} </head>\n <body>\n`
}

function rowOf(classes: string, href: string, name: string, size: string, date: string, id = ''): string {
  return `   <tr${id} class="${classes}">
    <td class="colname"><a href="${href}">${escapeHtml(name)}</a></td>
    <td class="colsize">${size || '&nbsp;'}</td>
    <td class="coldate">${date || '&nbsp;'}</td>
   </tr>
`
}

/** Percent-encoded, so that no name is taken for a scheme; one that begins with a slash must not lead elsewhere. */
const hrefOf = (name: string): string => (name.startsWith('/') ? `./${encodePath(name)}` : encodePath(name))

function cssHref(css: string, prefix: string): string {
  if (/^https?:\/\//.test(css)) return encodePath(css).replaceAll('%3A', ':')
  return '../'.repeat(prefix.split('/').length - 1) + encodePath(css)
}

/** For style sheets: `type-image type-png`. */
const typesOf = (contentType: string): string =>
  utf8Of(contentType)
    .toLowerCase()
    .split('/')
    .map((part) => `type-${escapeHtml(part)}`)
    .join(' ')

const SUFFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi']

function sizeOf(bytes: number): string {
  let value = bytes
  let power = 0
  for (; value >= 1024 && power + 1 < SUFFIXES.length; power++) value = Math.round(value / 1024)
  return `${value}${SUFFIXES[power]}`
}

const dateOf = ({ modifiedAt }: Extract<ObjectRow, { kind: 'object' }>): string =>
  printIsoDate(modifiedAt).slice(0, 19).replace('T', ' ')

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#x27;',
}

/** Makes text that stands for itself, between tags and in quoted attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)
