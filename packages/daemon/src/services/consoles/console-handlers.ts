/** Tickets for consoles: asked for by whoever may use the API, taken once by a stream. */
import { randomBytes } from 'node:crypto'
import { isActionAllowed, KvasirError, streams } from '@kvasir/contract'
import { hasKeyboard } from '../../model/pci/layout.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { type ConsoleDesk, createConsoleDesk } from './console-desk.ts'

/** How long a viewer has to come with a password; it opens all its channels then. */
const spiceLifeSeconds = 120
/** SPICE has room for 60 characters. */
const spicePasswordBytes = 18

/** The desk of consoles over the drivers of the VMs. */
export function createVmConsoles(context: Context): ConsoleDesk {
  const { ports, drivers } = context
  const emulatorOf = (id: string): Emulator => {
    const driver = drivers.get(id)
    if (!driver) throw new KvasirError('vm-not-found', `There is no VM ${id}.`)
    return requireEmulator(driver)
  }
  return createConsoleDesk({
    openSerial: async (id) => await emulatorOf(id).connectSerial(),
    openVnc: async (id) => await emulatorOf(id).screen.connectVnc(),
    openSpice: async (id) => await emulatorOf(id).screen.connectSpice(),
    readScrollback: (id, bytes) => ports.emulators.readLog(id, 'serial', bytes),
    clock: ports.clock,
    log: ports.log,
  })
}

/** The handlers that give out tickets. */
export function createConsoleHandlers(
  context: Context,
  desk: ConsoleDesk,
): Pick<
  Handlers,
  'consoleTicket' | 'vncTicket' | 'spiceTicket' | 'spicePassword' | 'sendKeys' | 'channelTicket'
> {
  return {
    async consoleTicket({ params, body }) {
      const driver = context.drivers.find(params.name)
      requireEmulator(driver)
      const issued = desk.issueSerial({ vmId: driver.id, vmName: params.name, mode: body.mode })
      return { ...issued, url: `${streams.console}?ticket=${issued.ticket}` }
    },
    async vncTicket({ params }) {
      const driver = context.drivers.find(params.name)
      requireDisplay(driver)
      const issued = desk.issueVnc({ vmId: driver.id, vmName: params.name })
      return { ...issued, url: `${streams.vnc}?ticket=${issued.ticket}` }
    },
    async spiceTicket({ params }) {
      const driver = context.drivers.find(params.name)
      requireSpice(driver)
      const issued = desk.issueSpice({ vmId: driver.id, vmName: params.name })
      return { ...issued, url: `${streams.spice}?ticket=${issued.ticket}` }
    },
    async channelTicket({ params }) {
      const driver = context.drivers.find(params.name)
      requireChannel(driver, params.channel)
      const issued = desk.issueChannel({
        vmId: driver.id,
        vmName: params.name,
        open: async () => await requireChannel(driver, params.channel).channels.connect(params.channel),
      })
      return { ...issued, url: `${streams.channel}?ticket=${issued.ticket}` }
    },
    async spicePassword({ params }) {
      const emulator = requireSpice(context.drivers.find(params.name))
      const password = randomBytes(spicePasswordBytes).toString('base64url')
      const expiresAt = new Date(
        Date.parse(context.ports.clock.now()) + spiceLifeSeconds * 1000,
      ).toISOString()
      await emulator.screen.setSpicePassword(password, { lifeSeconds: spiceLifeSeconds })
      return { password, expiresAt }
    },
    async sendKeys({ params, body }) {
      const driver = context.drivers.find(params.name)
      await requireKeyboard(driver).screen.sendKeys(body.keys, body)
      return undefined
    },
  }
}

function requireSpice(driver: Driver): Emulator {
  const emulator = requireEmulator(driver)
  const { name, run } = driver.view().record
  if (run?.emulator.plan.ids.spiceSocketName !== undefined) return emulator
  throw new KvasirError(
    'unsupported',
    `VM ${name} was started without SPICE (devices.spice), so it cannot be reached by that.`,
  )
}

function requireChannel(driver: Driver, channel: string): Emulator {
  const emulator = requireEmulator(driver)
  const { name, run, spec } = driver.view().record
  if (Object.hasOwn(run?.emulator.plan.ids.channels ?? {}, channel)) return emulator
  const isComing = spec.devices.channels?.includes(channel)
  if (run?.movingChannels?.includes(channel) && isComing)
    throw new KvasirError(
      'unsupported',
      `VM ${name} is being given channel ${channel} now, so nothing reaches it yet.`,
    )
  throw new KvasirError(
    'unsupported',
    isComing
      ? `VM ${name} has channel ${channel} from its next boot on, so nothing reaches it yet.`
      : `VM ${name} has no channel ${channel} (devices.channels), so nothing reaches it.`,
  )
}

/** A microvm has no keyboard unless it was started with one. */
function requireKeyboard(driver: Driver): Emulator {
  const emulator = requireEmulator(driver)
  const { name, spec, life, run } = driver.view().record
  if (!isActionAllowed('send-keys', life.state))
    throw new KvasirError('wrong-state', `VM ${name} is ${life.state}, so it cannot be typed to.`, {
      details: { state: life.state, action: 'send-keys' },
    })
  if (hasKeyboard(run?.bootedSpec ?? spec)) return emulator
  throw new KvasirError(
    'unsupported',
    `VM ${name} is a microvm and was started without a keyboard (devices.keyboard), so no key is pressed.`,
  )
}

function requireDisplay(driver: Driver): void {
  requireEmulator(driver)
  const { name, run } = driver.view().record
  if (run?.emulator.plan.ids.vncSocketName !== undefined) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} was started without a display (devices.vnc), so there is nothing to see.`,
  )
}

function requireEmulator(driver: Driver): Emulator {
  const { emulator, record } = driver.view()
  if (emulator) return emulator
  throw new KvasirError('wrong-state', `VM ${record.name} is ${record.life.state}, so it has no console.`, {
    details: { state: record.life.state, action: 'console' },
  })
}
