/** Asks one API or several in turn; a process of its own, so that its work is not the API's. Prints JSON. */
import { Pool } from 'undici'

export interface Asked {
  readonly count: number
  readonly seconds: number
  readonly ms: readonly number[]
}

const [token = '', seconds = '', connections = '', paths = '', ...origins] = process.argv.slice(2)
const pools = origins.map((origin) => new Pool(origin, { connections: Number(connections) }))
const asked = paths.split(',')
const ms: number[] = []
let next = 0

async function ask(): Promise<void> {
  const count = next++
  const began = performance.now()
  const { statusCode, body } =
    (await pools[count % pools.length]?.request({
      method: 'GET',
      path: asked[count % asked.length] ?? '/',
      headers: { authorization: `Bearer ${token}` },
    })) ?? {}
  await body?.dump({ limit: 1e9 })
  if (statusCode !== 200) throw new Error(`${asked[count % asked.length]}: ${statusCode}`)
  ms.push(performance.now() - began)
}

const began = performance.now()
const isOver = () => performance.now() - began >= Number(seconds) * 1000
await Promise.all(
  Array.from({ length: Number(connections) }, async () => {
    while (!isOver()) await ask()
  }),
)
const result: Asked = { count: ms.length, seconds: (performance.now() - began) / 1000, ms }
process.stdout.write(JSON.stringify(result))
await Promise.all(pools.map((pool) => pool.close()))
