/**
 * Registers an image and prints what happens to it until it is available or failed, live.
 *     TOKEN=$(brightbox token show --format=token) node examples/register-and-watch.ts http://127.0.0.1:8080 IMAGE_URL
 */
const [library = '', url = ''] = process.argv.slice(2)
const headers = { authorization: `Bearer ${process.env.TOKEN}`, 'content-type': 'application/json' }

const response = await fetch(`${library}/1.0/images`, {
  method: 'POST',
  headers,
  body: JSON.stringify({ http_url: url, arch: 'x86_64', name: 'example' }),
})
if (response.status !== 201) throw new Error(await response.text())
const { id } = (await response.json()) as { id: string }

const stream = await fetch(`${library}/1.0/images/${id}/events`, {
  headers: { ...headers, accept: 'text/event-stream' },
})
let text = ''
for await (const piece of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
  text += piece
  const messages = text.split('\n\n')
  text = messages.pop() ?? ''
  for (const message of messages) {
    const data = /^data: (.*)$/m.exec(message)?.[1]
    if (data === undefined) continue // A comment: the connection lives.
    const event = JSON.parse(data) as { action: string; message: string }
    console.log(`${id} ${event.action}: ${event.message}`)
    if (event.action === 'image.available') process.exit(0)
    if (event.action === 'image.failed') process.exit(1)
  }
}
