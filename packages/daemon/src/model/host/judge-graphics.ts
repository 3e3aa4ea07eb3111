/**
 * Whether guests can have 3D here (virtio-gpu with VirGL), and on which render node.
 *
 * QEMU draws what the guest asks for with the OpenGL of the host: its device is a module of its own, it opens a render node by
 * `-display egl-headless`, and libEGL loads Mesa's driver of it (QEMU: ui/egl-helpers.c, egl_rendernode_init).
 */
import type { HostGraphics } from '@kvasir/contract'

/** The device of QEMU that has 3D. */
export const glCard = 'virtio-vga-gl'

/** What is known of a render node. */
export interface RenderNode {
  readonly path: string
  readonly driver?: string
  readonly address?: string
}

export interface GraphicsFacts {
  readonly renderNodes: readonly RenderNode[]
  /** Classes that the QEMU at hand has; undefined where that is not known. */
  readonly types?: readonly string[] | undefined
  /** Whether there are the libraries of OpenGL with a driver; undefined where that is not known. */
  readonly hasOpenGl?: boolean | undefined
}

/** Why 3D can be had on a host, or what is lacking and how to get it. */
export function judgeGraphics({ renderNodes, types, hasOpenGl }: GraphicsFacts): HostGraphics {
  const nodes = renderNodes.map((node) => ({ ...node, ...judgeNode(node) }))
  const first = nodes.find(({ usable }) => usable)
  const answer = (usable: boolean, reason: string, remedy?: string): HostGraphics => ({
    usable,
    reason,
    ...(remedy === undefined ? {} : { remedy }),
    renderNodes: nodes,
  })
  if (nodes.length === 0)
    return answer(
      false,
      'the host has no render node (/dev/dri/renderD*)',
      "Load the driver of the host's GPU, such as amdgpu, i915, xe or nouveau; without a GPU, vgem renders on the CPU.",
    )
  if (first === undefined)
    return answer(
      false,
      'the host has no render node that a VM could use',
      'Use a driver for which Mesa has OpenGL.',
    )
  if (types !== undefined && !types.includes(glCard))
    return answer(
      false,
      `the QEMU of the host lacks ${glCard}`,
      'Install the package qemu-system-modules-opengl (in Debian 12 it is in qemu-system-common).',
    )
  if (hasOpenGl === false)
    return answer(
      false,
      'the host lacks libEGL, libOpenGL or a driver for them',
      'Install the packages libegl1, libopengl0 and libgl1-mesa-dri.',
    )
  return answer(true, `${first.path} renders`)
}

/** The node that a VM gets: the one that it names, or the first. `refusal` is a clause. */
export function chooseRenderNode(
  wanted: string | undefined,
  { usable, reason, remedy, renderNodes }: HostGraphics,
): { readonly path: string } | { readonly refusal: string } {
  if (!usable) return { refusal: `${reason}. ${remedy ?? ''}`.trim() }
  if (wanted === undefined) {
    const first = renderNodes.find((node) => node.usable)
    return first ?? { refusal: reason }
  }
  const node = renderNodes.find(({ path, address }) => path === wanted || address === wanted)
  if (node === undefined)
    return {
      refusal: `the host has no render node ${wanted}, but ${renderNodes.map(({ path }) => path).join(', ')}.`,
    }
  return node.usable ? node : { refusal: `${node.path} cannot be used: ${node.reason}.` }
}

/** Where nobody knows which it will be. */
export const likelyRenderNode = '/dev/dri/renderD128'

function judgeNode({ driver }: RenderNode): { readonly usable: boolean; readonly reason: string } {
  if (driver === 'nvidia')
    return {
      usable: false,
      reason: 'the OpenGL of the driver nvidia takes devices that no cage has; nouveau can be used',
    }
  if (driver === 'vgem' || driver === 'vkms') return { usable: true, reason: 'it renders on the CPU' }
  return { usable: true, reason: 'Mesa renders on it' }
}
