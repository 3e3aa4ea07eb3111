/** A guest that is started as people start QEMU by hand: one command line, `-drive if=virtio`, no cage, no manager. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { GuestAgentClient, QmpClient } from '@kvasir/qmp'
import { eventually } from '../e2e/machine/eventually.ts'
import { type BenchGuest, shellBy, untilBooted } from './guest-shell.ts'

const upMs = 10_000
const commandMs = 30_000

export interface BareGuestOptions {
  readonly folder: string
  readonly kernel: string
  readonly initrd: string
  readonly memoryMib: number
  /** The value of `-drive`. */
  readonly drive?: string
  /** A tap that it makes, by the values of `-netdev` and `-device`, in a network namespace at a path. */
  readonly nic?: { readonly netdev: string; readonly device: string; readonly network: string }
}

export interface BareGuest extends BenchGuest {
  readonly monitor: QmpClient
}

/** Starts a QEMU and waits until its guest has booted. */
export async function bootBareGuest(options: BareGuestOptions): Promise<BareGuest> {
  const { folder } = options
  mkdirSync(folder, { recursive: true })
  const [agent, monitor] = ['agent.sock', 'monitor.sock'].map((name) => join(folder, name))
  if (agent === undefined || monitor === undefined) throw new TypeError('There are two paths.')
  const log = openSync(join(folder, 'qemu.log'), 'w')
  const enter = options.nic ? ['nsenter', `--net=${options.nic.network}`] : []
  const [program = '', ...args] = [...enter, 'qemu-system-x86_64', ...argvOf(options, { agent, monitor })]
  const qemu = spawn(program, args, { stdio: ['ignore', log, log] })
  try {
    const client = await eventually(() => QmpClient.connect({ path: monitor }), {
      withinMs: upMs,
      what: 'the bare QEMU answers',
    })
    const guest: BareGuest = {
      monitor: client,
      async shell(line) {
        const channel = await GuestAgentClient.connect({ path: agent, syncTimeoutMs: commandMs })
        try {
          return await shellBy((command, args) => ask(channel, command, args), line)
        } finally {
          channel.close()
        }
      },
      async [Symbol.asyncDispose]() {
        client.close()
        await end(qemu)
        for (const path of [agent, monitor]) rmSync(path, { force: true })
      },
    }
    await untilBooted(guest)
    return guest
  } catch (error) {
    await end(qemu)
    throw error
  }
}

function argvOf(
  { kernel, initrd, memoryMib, drive, nic }: BareGuestOptions,
  { agent, monitor }: { readonly agent: string; readonly monitor: string },
): readonly string[] {
  const boot = [
    '-kernel',
    kernel,
    '-initrd',
    initrd,
    '-append',
    'console=ttyS0 quiet reboot=t cryptomgr.notests nokaslr no_timer_check',
  ]
  const channel = [
    '-device',
    'virtio-serial',
    '-chardev',
    `socket,id=agent,path=${agent},server=on,wait=off`,
    '-device',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
  ]
  const machine = [
    '-machine',
    'q35',
    '-cpu',
    'max',
    '-m',
    String(memoryMib),
    '-display',
    'none',
    '-nodefaults',
  ]
  const disk = drive === undefined ? [] : ['-drive', drive]
  const card = nic ? ['-netdev', nic.netdev, '-device', nic.device] : []
  return [...machine, ...boot, ...disk, ...card, ...channel, '-qmp', `unix:${monitor},server=on,wait=off`]
}

function ask(channel: GuestAgentClient, command: string, args: object): Promise<unknown> {
  switch (command) {
    case 'guest-exec':
    case 'guest-exec-status':
      return channel.execute(command, args as never, { timeoutMs: commandMs }) // shellBy has built them.
    default:
      throw new TypeError(`${command} is not asked here.`)
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
