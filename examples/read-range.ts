/**
 * Reads a part of an image's disk without downloading the rest, and writes it to stdout: here its partition table.
 *     export TOKEN=$(brightbox token show --format=token)
 *     node examples/read-range.ts http://127.0.0.1:8080 img-3ikco 0 512 | xxd
 */
import { text } from 'node:stream/consumers'

const [library, id, offset, length] = process.argv.slice(2)
const first = Number(offset)
const response = await fetch(`${library}/1.0/images/${id}/download?format=raw`, {
  headers: {
    authorization: `Bearer ${process.env.TOKEN}`,
    range: `bytes=${first}-${first + Number(length) - 1}`,
  },
})
// 200 would be the whole disk, 416 a range past its end.
if (response.status !== 206)
  throw new Error(`${response.status}: ${response.body ? await text(response.body) : ''}`)
// The tag is the same for ever; If-Range with it makes sure that two ranges are of one disk.
console.error(`${response.headers.get('content-range')} of ${response.headers.get('etag')}`)
for await (const piece of response.body ?? []) process.stdout.write(piece)
