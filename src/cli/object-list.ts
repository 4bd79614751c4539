import type { Orbit } from './orbit.ts'

/** An object as Orbit lists it. */
export interface ObjectJson {
  readonly name: string
  readonly hash: string
  readonly bytes: number
  readonly content_type: string
  readonly last_modified: string
  /** Only of a static large object. */
  readonly slo_etag?: string
}

export interface ContainerJson {
  readonly name: string
  readonly count: number
  readonly bytes: number
  readonly last_modified: string
}

export type ObjectRowJson = ObjectJson | { readonly subdir: string }

export interface ListWanted {
  readonly container?: string
  readonly prefix?: string | undefined
  readonly delimiter?: string | undefined
}

const rowName = (row: { name: string } | { subdir: string }): string =>
  'name' in row ? row.name : row.subdir

/** The objects of a container, page by page. */
export const listObjects = (orbit: Orbit, wanted: ListWanted & { readonly container: string }) =>
  listPages<ObjectRowJson>(orbit, wanted, `list container ${wanted.container}`)

export const listContainers = (orbit: Orbit) => listPages<ContainerJson>(orbit, {}, 'list containers')

async function* listPages<T extends { name: string } | { subdir: string }>(
  orbit: Orbit,
  { container, prefix, delimiter }: ListWanted,
  attempt: string,
): AsyncGenerator<T[]> {
  for (let marker = ''; ; ) {
    const query = {
      format: 'json',
      ...(prefix ? { prefix } : {}),
      ...(delimiter ? { delimiter } : {}),
      ...(marker === '' ? {} : { marker }),
    }
    const place = container === undefined ? {} : { container }
    const page = JSON.parse(await orbit.text('GET', place, { attempt, query })) as T[]
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    marker = rowName(last)
  }
}
