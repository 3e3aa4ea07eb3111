import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseRenderNode, judgeGraphics } from './judge-graphics.ts'

const gpu = { path: '/dev/dri/renderD129', driver: 'amdgpu', address: '0000:03:00.0' }
const closed = { path: '/dev/dri/renderD128', driver: 'nvidia', address: '0000:01:00.0' }
const types = ['virtio-vga-gl']

test('3D is had where there is a render node, the module of QEMU and OpenGL', () => {
  const { usable, reason } = judgeGraphics({ renderNodes: [closed, gpu], types, hasOpenGl: true })

  assert.deepEqual([usable, reason], [true, '/dev/dri/renderD129 renders'])
})

test('what is lacking is told with what to install', () => {
  const judge = (facts: Partial<Parameters<typeof judgeGraphics>[0]>) => {
    const { usable, reason, remedy } = judgeGraphics({ renderNodes: [gpu], types, hasOpenGl: true, ...facts })
    assert.equal(usable, false)
    return `${reason}: ${remedy}`
  }

  assert.match(judge({ renderNodes: [] }), /no render node \(\/dev\/dri.*amdgpu/)
  assert.match(judge({ renderNodes: [closed] }), /no render node that a VM could use/)
  assert.match(judge({ types: ['virtio-vga'] }), /lacks virtio-vga-gl.*qemu-system-modules-opengl/)
  assert.match(judge({ hasOpenGl: false }), /lacks libEGL.*libegl1, libopengl0/)
})

test('a captured host, of which neither QEMU nor libraries are known, is judged by its render nodes', () => {
  assert.equal(judgeGraphics({ renderNodes: [gpu] }).usable, true)
})

test('a VM gets the node that it names, by path or by address, else the first that it can use', () => {
  const graphics = judgeGraphics({ renderNodes: [closed, gpu], types, hasOpenGl: true })
  const choose = (wanted?: string) => {
    const chosen = chooseRenderNode(wanted, graphics)
    return 'path' in chosen ? chosen.path : chosen.refusal
  }

  assert.equal(choose(), gpu.path)
  assert.equal(choose(gpu.path), gpu.path)
  assert.equal(choose(gpu.address), gpu.path)
  assert.match(choose('/dev/dri/renderD130'), /no render node \/dev\/dri\/renderD130, but/)
  assert.match(choose(closed.address), /renderD128 cannot be used: .*nvidia/)
  const without = chooseRenderNode(undefined, judgeGraphics({ renderNodes: [] }))
  assert.match('refusal' in without ? without.refusal : '', /no render node .*Load the driver/)
})
