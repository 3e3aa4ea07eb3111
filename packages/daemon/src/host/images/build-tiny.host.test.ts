import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lacking, needs } from '../../../../../tools/require.ts'
import { resolveTiny } from './build-tiny.ts'
import { type ImageShelf, openImageShelf } from './image-files.ts'
import type { BuildOptions, ResolvedRecipe } from './recipe.ts'
import { openWorkDir } from './work-dir.ts'

const bootTimeoutMs = 60_000
const packageTimeoutMs = 120_000

test('the tiny image boots to a shell, has its name and drivers, counts, and powers itself off', {
  skip: needs('root', 'qemu'),
}, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-tiny-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  const shelf = await openImageShelf(join(folder, 'images'))
  const steps: string[] = []
  const options: BuildOptions = {
    work: await openWorkDir(join(folder, 'work')),
    signal: AbortSignal.timeout(packageTimeoutMs),
    onProgress: (step) => steps.push(step),
  }
  const recipe = await resolveOrSkip(options, context)
  if (recipe === undefined) return

  const image = await publish(recipe, shelf, options)

  assert.ok(steps.includes('compressing the initramfs'))
  assert.deepEqual(readdirSync(options.work.scratch), [])
  assert.equal((await resolveTiny(options)).source, image.source, 'a second build would make the same')
  assert.ok(statSync(shelf.paths(image.id).initrd).size < 8 * 2 ** 20)
  const said = await bootAndAsk(shelf, image, [
    'echo "name=$(hostname) uid=$(id -u)"',
    'sleep 1; echo "counter=$(cat /run/counter)"',
    'echo "nic=$(ls /sys/class/net | tr "\\n" " ")"',
    'poweroff',
  ])
  assert.match(said, /^web1 login: root/m)
  assert.match(said, /^name=web1 uid=0/m)
  assert.match(said, /^counter=[1-9]/m)
  assert.match(said, /^nic=eth0 lo/m)
})

async function resolveOrSkip(
  options: BuildOptions,
  context: TestContext,
): Promise<ResolvedRecipe | undefined> {
  try {
    return await resolveTiny(options)
  } catch (error) {
    context.skip(lacking('network', `apt gives no packages to build the tiny image from: ${String(error)}`))
    return undefined
  }
}

async function publish(
  recipe: ResolvedRecipe,
  shelf: ImageShelf,
  options: BuildOptions,
): ReturnType<Awaited<ReturnType<ImageShelf['stage']>>['publish']> {
  await using staged = await shelf.stage()
  const built = await recipe.build(staged.paths)
  return await staged.publish({ ...built, name: 'tiny', createdAt: new Date().toISOString() }, options.signal)
}

/** Boots the image under TCG, types the lines at its shell, and gives all that its console said until it was off. */
function bootAndAsk(
  shelf: ImageShelf,
  image: { readonly id: string; readonly cmdline?: string | undefined },
  lines: readonly string[],
): Promise<string> {
  const { kernel, initrd } = shelf.paths(image.id)
  const emulator = spawn(
    'qemu-system-x86_64',
    [
      '-accel',
      'tcg',
      '-M',
      'q35',
      '-m',
      '256',
      '-nodefaults',
      '-display',
      'none',
      '-serial',
      'stdio',
      '-netdev',
      'user,id=n0,restrict=on',
      '-device',
      'virtio-net-pci,netdev=n0',
      '-no-reboot',
      '-kernel',
      kernel,
      '-initrd',
      initrd,
      '-append',
      `${image.cmdline ?? ''} kvasir.hostname=web1 kvasir.counter`,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  return new Promise((resolve, reject) => {
    let said = ''
    const deadline = setTimeout(() => {
      emulator.kill('SIGKILL')
      reject(new Error(`The guest was not off in time; it said:\n${said}`))
    }, bootTimeoutMs)
    const waiting = [...lines]
    emulator.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
      // The prompt comes once more than there are lines.
      const prompts = said.split(':/root# ').length - 1
      while (waiting.length > 0 && lines.length - waiting.length < prompts) {
        emulator.stdin.write(`${waiting.shift() ?? ''}\n`)
      }
    })
    emulator.once('exit', () => {
      clearTimeout(deadline)
      resolve(said.replaceAll('\r', ''))
    })
    emulator.once('error', reject)
  })
}
