/** A chain as a tool in the jail is to open it: which files it gets, and a block node that spells out all of them. */
import { pathSource, type VolumeSource } from '../../model/storage/volume-source.ts'

export interface JailedChain {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** The top, as `qemu-img` takes it for a file name. */
  readonly file: string
}

/** The chain, top first. With `write` the top can be written; with it no header has a say in what is opened. */
export function jailedChain(chain: readonly VolumeSource[], access: 'read' | 'write'): JailedChain {
  const paths = chain.map((link) => pathSource(link).path)
  const isWritten = (place: number) => access === 'write' && place === 0
  const places = paths.map((_, place) =>
    isWritten(place) ? '/out/0' : `/in/${access === 'write' ? place - 1 : place}`,
  )
  const node = (place: number): unknown => {
    const link = chain[place]
    if (link === undefined) return null
    const file = { driver: link.kind === 'device' ? 'host_device' : 'file', filename: places[place] }
    return { driver: link.format, file, ...(link.format === 'qcow2' ? { backing: node(place + 1) } : {}) }
  }
  return {
    inputs: paths.filter((_, place) => !isWritten(place)),
    outputs: paths.filter((_, place) => isWritten(place)),
    file: `json:${JSON.stringify(node(0))}`,
  }
}
