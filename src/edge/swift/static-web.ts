import { type LocatedObject, OrbitRefusal } from '#control/orbit/orbit.ts'
import { originOf } from '#edge/http/host.ts'
import type { Caller, ContainerPath, Metadata } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { LISTING_LIMIT, utf8Of } from './listing.ts'
import { printDisabledPage, printListingPage } from './listing-page.ts'
import { isTrue } from './metadata.ts'
import { wantsManifest } from './object.ts'
import { encodePath } from './path.ts'
import { holdText } from './receive-body.ts'
import { answerOf } from './refusals.ts'
import { SwiftProblem, sendBytes } from './reply.ts'
import { sendObject, sendObjectHead } from './send-object.ts'

/** How a container is shown as a web site; texts are empty where the owner set none. */
interface Site {
  readonly path: ContainerPath
  readonly index: string
  /** End of the names of pages for errors: `404` and this. */
  readonly error: string
  readonly listings: string
  readonly css: string
  /** What titles of listings say in place of the container's address. */
  readonly label: string
  /** Content type of objects that stand for a folder. */
  readonly folderType: string
}

const HTML = 'text/html; charset=UTF-8'

/**
 * Answers GET and HEAD of a container that is a web site, and of what is in it, as a browser wants it.
 * @returns whether it did; else it is for the plain API
 */
export async function answerStaticWeb(exchange: Exchange, caller: Caller): Promise<boolean> {
  const { container, object } = exchange.path
  if (container === undefined || wantsManifest(exchange)) return false
  const path = { account: exchange.path.account, container }
  const facts = await exchange.deps.orbit.containers.facts(path)
  const site = facts && readSite(path, facts.metadata)
  if (!site)
    return object === undefined && isAskedForWeb(exchange) ? refuseNoSite(exchange, caller, path) : false
  if (object === undefined) await answerRoot(exchange, caller, site)
  else await answerObject(exchange, caller, site, object)
  return true
}

function readSite(path: ContainerPath, metadata: Metadata): Site | undefined {
  const text = (name: string) => utf8Of((metadata[`web-${name}`] ?? '').trim())
  const [index, listings] = [text('index'), text('listings')]
  if (index === '' && listings === '') return undefined
  return {
    ...{ path, index, listings, error: text('error'), css: text('listings-css') },
    label: text('listings-label'),
    folderType: text('directory-type') || 'application/directory',
  }
}

const isAskedForWeb = (exchange: Exchange): boolean => isTrue(headerOf(exchange, 'x-web-mode'))

/** Who may see that it is no site is told so; the others what they are always told. */
async function refuseNoSite(exchange: Exchange, caller: Caller, path: ContainerPath): Promise<boolean> {
  await exchange.deps.orbit.containers.show(caller, path)
  throw new SwiftProblem(404)
}

/** The address of the container itself. */
async function answerRoot(exchange: Exchange, caller: Caller, site: Site): Promise<void> {
  try {
    await exchange.deps.orbit.containers.show(caller, site.path)
  } catch (error) {
    return await refuse(exchange, caller, site, error)
  }
  if (!exchange.path.full.endsWith('/')) return redirectToFolder(exchange)
  if (site.index !== '' && (await sendIfThere(exchange, caller, site, site.index))) return
  await sendListingPage(exchange, caller, site, '')
}

async function answerObject(exchange: Exchange, caller: Caller, site: Site, object: string): Promise<void> {
  const isFolder = object.endsWith('/')
  {
    await using found = await find(exchange, caller, site, object)
    if (found && !marksFolder(found, site)) return await send(exchange, found)
  }
  if (site.index !== '') {
    await using index = await find(exchange, caller, site, `${object}${isFolder ? '' : '/'}${site.index}`)
    if (index) return isFolder ? await send(exchange, index) : redirectToFolder(exchange)
  }
  if (isFolder) return await sendListingPage(exchange, caller, site, object)
  if (await hasChildren(exchange, caller, site, object)) return redirectToFolder(exchange)
  await refuse(exchange, caller, site, new SwiftProblem(404))
}

/** Objects of a byte are what some clients make, because they cannot make empty ones. */
const marksFolder = ({ info }: LocatedObject, { folderType }: Site): boolean =>
  info.contentType === folderType && info.size <= 1

/** @returns undefined where there is no such object @throws OrbitRefusal denied */
async function find(
  exchange: Exchange,
  caller: Caller,
  { path }: Site,
  object: string,
): Promise<LocatedObject | undefined> {
  try {
    return await exchange.deps.orbit.objects.locate(caller, { ...path, object })
  } catch (error) {
    if (error instanceof OrbitRefusal && error.kind === 'not_found') return undefined
    throw error
  }
}

async function send(exchange: Exchange, found: LocatedObject, status = 200): Promise<void> {
  if (exchange.method === 'HEAD') sendObjectHead(exchange, found.info, status)
  else await sendObject(exchange, found, status)
}

async function sendIfThere(exchange: Exchange, caller: Caller, site: Site, object: string): Promise<boolean> {
  await using found = await find(exchange, caller, site, object)
  if (found) await send(exchange, found)
  return found !== undefined
}

/** Who may not list does not learn which folders there are. */
async function hasChildren(exchange: Exchange, caller: Caller, site: Site, object: string): Promise<boolean> {
  const query = { limit: 1, prefix: `${object}/`, delimiter: '/' }
  try {
    return (await exchange.deps.orbit.containers.list(caller, site.path, query)).rows.length > 0
  } catch (error) {
    if (error instanceof OrbitRefusal) return false
    throw error
  }
}

/** Relative links lead to the right place only from an address with a slash at its end. */
function redirectToFolder(exchange: Exchange): void {
  const { deps, path, raw } = exchange
  const origin = deps.publicUrl ?? originOf({ protocol: 'http', host: raw.headers.host ?? '' })
  const headers = { Location: `${origin}${encodePath(path.full)}/`, 'Content-Type': HTML }
  const body = '<html><h1>Moved Permanently</h1><p>The resource has moved permanently.</p></html>'
  sendBytes(exchange, 301, headers, Buffer.from(body))
}

async function sendListingPage(
  exchange: Exchange,
  caller: Caller,
  site: Site,
  prefix: string,
): Promise<void> {
  const { path, deps } = exchange
  const { css, index, label } = site
  const title = label === '' ? path.full : `${label}/${path.full.split('/').slice(4).join('/')}`
  if (!isTrue(site.listings)) {
    const page = printDisabledPage(title, prefix, css, index)
    return await refuse(exchange, caller, site, new SwiftProblem(404, page, { 'Content-Type': HTML }))
  }
  try {
    const query = { limit: LISTING_LIMIT, delimiter: '/', ...(prefix === '' ? {} : { prefix }) }
    const { rows } = await deps.orbit.containers.list(caller, site.path, query)
    if (prefix !== '' && rows.length === 0) throw new SwiftProblem(404)
    const page = Buffer.from(printListingPage({ title, prefix, rows, css }))
    holdText(exchange).add(page.length)
    sendBytes(exchange, 200, { 'Content-Type': HTML }, page)
  } catch (error) {
    await refuse(exchange, caller, site, error)
  }
}

/** Answers what went wrong with the site's own page for it, where it has one that the caller may read. */
async function refuse(exchange: Exchange, caller: Caller, site: Site, error: unknown): Promise<void> {
  const { status } = answerOf(exchange, error)
  if (site.error === '' || status >= 500) throw error
  let page: LocatedObject | undefined
  try {
    page = await find(exchange, caller, site, `${status}${site.error}`)
  } catch {
    throw error
  }
  if (!page) throw error
  await using found = page
  await send(exchange, found, status)
}
