/** Names of links of this process's network namespace, read without another process; /sys may show those of another. */
import { readFile } from 'node:fs/promises'

/** All that there are. */
export async function linkNames(): Promise<readonly string[]> {
  const text = await readFile('/proc/self/net/dev', 'utf8')
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => line.split(':')[0]?.trim() || [])
}

/** Those of the host's default routes (the kernel's net/ipv4/fib_trie.c and net/ipv6/route.c say how the files are written). */
export async function defaultLinks(): Promise<readonly string[]> {
  const read = (name: string) => readFile(`/proc/self/net/${name}`, 'utf8').catch(() => '')
  const [text4, text6] = [await read('route'), await read('ipv6_route')]
  const rows = (text: string) => text.split('\n').map((line) => line.trim().split(/\s+/))
  const of4 = rows(text4).flatMap(([link, to, , , , , , mask]) =>
    link && to === '00000000' && mask === '00000000' ? [link] : [],
  )
  const of6 = rows(text6).flatMap(([to = '', bits, , , , , , , , link]) =>
    link && link !== 'lo' && bits === '00' && /^0{32}$/.test(to) ? [link] : [],
  )
  return [...new Set([...of4, ...of6])]
}
