import { XMLParser } from 'fast-xml-parser'

/** Thrown where an answer is not what S3 would say: a proxy's page, or cut off. */
export class StrangeAnswer extends Error {}

const LISTS = new Set(['Contents', 'Error'])
const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  parseTagValue: false,
  // Neither our keys nor what a server makes up has any.
  processEntities: false,
  isArray: (name, path) => LISTS.has(name) && path !== name,
})

type Tree = { readonly [name: string]: unknown }

/** The tree below the one element that the document is; undefined where it is another, or none. */
function read(text: string, root: string): Tree | undefined {
  let parsed: unknown
  try {
    parsed = parser.parse(text, true)
  } catch {
    return undefined
  }
  const found = isTree(parsed) ? parsed[root] : undefined
  if (found === '') return {}
  return isTree(found) ? found : undefined
}

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const treesOf = (value: unknown): Tree[] => (Array.isArray(value) ? value.filter(isTree) : [])

function expect(text: string, root: string): Tree {
  const found = read(text, root)
  if (!found) throw new StrangeAnswer(`it is no ${root}`)
  return found
}

/** S3's word for what went wrong, such as `NoSuchKey`; undefined where the answer has none. */
export function errorCodeOf(text: string): string | undefined {
  const code = textOf(read(text, 'Error')?.Code)
  return /^[A-Za-z0-9.]{1,64}$/.test(code) ? code : undefined
}

export interface ListPage {
  readonly objects: readonly {
    readonly key: string
    /** Bytes. */
    readonly size: number
    /** Milliseconds since 1970, by the server's clock. */
    readonly modifiedAt: number
  }[]
  /** Undefined on the last page. */
  readonly next: string | undefined
}

/** @throws StrangeAnswer */
export function parseListPage(text: string): ListPage {
  const result = expect(text, 'ListBucketResult')
  const objects = treesOf(result.Contents).map((each) => {
    const [key, size] = [textOf(each.Key), textOf(each.Size)]
    const modifiedAt = Date.parse(textOf(each.LastModified))
    if (key === '' || !/^\d{1,15}$/.test(size) || Number.isNaN(modifiedAt))
      throw new StrangeAnswer('an object lacks its key, its size or its time')
    return { key, size: Number(size), modifiedAt }
  })
  if (textOf(result.IsTruncated) !== 'true') return { objects, next: undefined }
  const next = textOf(result.NextContinuationToken)
  if (next === '' || objects.length === 0) throw new StrangeAnswer('the list does not say how it goes on')
  return { objects, next }
}

/** The code of what could not be deleted, or undefined where all could. @throws StrangeAnswer */
export function parseDeleteResult(text: string): string | undefined {
  const [failed] = treesOf(expect(text, 'DeleteResult').Error)
  return failed && (textOf(failed.Code) || 'InternalError')
}

/** @throws StrangeAnswer */
export function parseUploadId(text: string): string {
  const id = textOf(expect(text, 'InitiateMultipartUploadResult').UploadId)
  if (id === '') throw new StrangeAnswer('it has no upload id')
  return id
}

/** An answer that begins with 200 and may say later that it failed. @throws StrangeAnswer */
export function expectResult(text: string, root: 'CopyObjectResult' | 'CompleteMultipartUploadResult'): void {
  expect(text, root)
}

export const deleteRequest = (keys: readonly string[]): Buffer =>
  Buffer.from(
    `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${keys
      .map((key) => `<Object><Key>${key}</Key></Object>`)
      .join('')}</Delete>`,
  )

export const completeRequest = (tags: readonly string[]): Buffer =>
  Buffer.from(
    `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${tags
      .map((tag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escapeSigns(tag)}</ETag></Part>`)
      .join('')}</CompleteMultipartUpload>`,
  )

const escapeSigns = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
