import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec, vmStates } from '@kvasir/contract'
import {
  type Circumstances,
  type Decision,
  decide,
  type Happening,
  mostRestarts,
} from './lifecycle-decisions.ts'
import { stateFromRunState } from './run-state.ts'

const lifecycle = vmSpec.parse({}).lifecycle
const untouched: Circumstances = { lifecycle, stopAsked: false, recentRestarts: 0 }

const guestOff: Happening = { kind: 'shutdown', byGuest: true, reason: 'guest-shutdown' }
const killed: Happening = { kind: 'exited', code: undefined, signal: 'SIGKILL' }
const panicked: Happening = { kind: 'panicked' }

function underPolicy(policy: Partial<typeof lifecycle>, rest: Partial<Circumstances> = {}): Circumstances {
  return { ...untouched, lifecycle: { ...lifecycle, ...policy }, ...rest }
}

const cases: readonly (readonly [string, Happening, Circumstances, Decision])[] = [
  [
    'a guest that powers itself off is shut off',
    guestOff,
    untouched,
    { kind: 'end', state: 'shutoff', reason: 'the guest powered itself off' },
  ],
  [
    'a guest that powers itself off is started again when its policy says so',
    guestOff,
    underPolicy({ onPowerOff: 'restart' }),
    { kind: 'restart', reason: 'the guest powered itself off' },
  ],
  [
    'a guest that was asked to shut down is not started again',
    guestOff,
    underPolicy({ onPowerOff: 'restart' }, { stopAsked: true }),
    { kind: 'end', state: 'shutoff', reason: 'it was shut down on request' },
  ],
  [
    'a reboot under power-off ends the emulator',
    { kind: 'shutdown', byGuest: true, reason: 'guest-reset' },
    underPolicy({ onReboot: 'power-off' }),
    { kind: 'end', state: 'shutoff', reason: 'the guest rebooted, which powers this VM off' },
  ],
  [
    'an emulator told to end by a signal is shut off with that reason',
    { kind: 'shutdown', byGuest: false, reason: 'host-signal' },
    untouched,
    { kind: 'end', state: 'shutoff', reason: 'the emulator was told to end by a signal' },
  ],
  [
    'a reboot changes nothing',
    { kind: 'reset', byGuest: true },
    untouched,
    { kind: 'none', reason: 'the guest rebooted' },
  ],
  [
    'an emulator killed from outside is a crash',
    killed,
    untouched,
    { kind: 'end', state: 'crashed', reason: 'the emulator was killed by SIGKILL' },
  ],
  [
    'an emulator killed from outside is started again when its policy says so',
    killed,
    underPolicy({ onCrash: 'restart' }),
    { kind: 'restart', reason: 'the emulator was killed by SIGKILL' },
  ],
  [
    'an emulator that keeps crashing stays off',
    killed,
    underPolicy({ onCrash: 'restart' }, { recentRestarts: mostRestarts }),
    {
      kind: 'end',
      state: 'crashed',
      reason: 'the emulator was killed by SIGKILL, after 5 restarts within 5 minutes',
    },
  ],
  [
    'an emulator killed by power-off is shut off',
    killed,
    underPolicy({ onCrash: 'restart' }, { stopAsked: true }),
    { kind: 'end', state: 'shutoff', reason: 'it was powered off' },
  ],
  [
    'an adopted emulator that is gone is a crash without an exit status',
    { kind: 'exited', code: undefined, signal: undefined },
    untouched,
    { kind: 'end', state: 'crashed', reason: 'the emulator is gone' },
  ],
  [
    'a panic pauses by default',
    panicked,
    untouched,
    { kind: 'report', state: 'paused', reason: "the guest's kernel panicked" },
  ],
  [
    'a panic under stop is a crash',
    panicked,
    underPolicy({ onPanic: 'stop' }),
    { kind: 'end', state: 'crashed', reason: "the guest's kernel panicked" },
  ],
  [
    'a panic found on adoption is treated as one that was seen',
    { kind: 'run-state', runState: 'guest-panicked' },
    underPolicy({ onPanic: 'restart' }),
    { kind: 'restart', reason: "the guest's kernel panicked" },
  ],
  [
    'a watchdog that reset the guest is told, and the guest goes on',
    { kind: 'watchdog', action: 'reset' },
    untouched,
    { kind: 'note', reason: "the guest's watchdog fired, and the guest was reset" },
  ],
  [
    'a watchdog under power-off ends the emulator, which QEMU only paused',
    { kind: 'watchdog', action: 'pause' },
    underPolicy({ onWatchdog: 'power-off' }),
    { kind: 'end', state: 'shutoff', reason: "the guest's watchdog fired" },
  ],
  [
    'a watchdog found on adoption under pause is reported',
    { kind: 'run-state', runState: 'watchdog' },
    underPolicy({ onWatchdog: 'pause' }),
    { kind: 'report', state: 'paused', reason: "the guest's watchdog fired" },
  ],
  [
    'a guest found off on adoption is shut off',
    { kind: 'run-state', runState: 'shutdown' },
    untouched,
    { kind: 'end', state: 'shutoff', reason: 'the guest powered itself off' },
  ],
  [
    'a guest found off on adoption that might have rebooted is shut off, and the reason does not pretend to know',
    { kind: 'run-state', runState: 'shutdown' },
    underPolicy({ onReboot: 'power-off', onPowerOff: 'restart' }),
    { kind: 'end', state: 'shutoff', reason: 'the guest powered itself off or rebooted' },
  ],
  [
    'a full disk pauses with its name',
    { kind: 'run-state', runState: 'io-error', context: { ioError: { disk: 'root', noSpace: true } } },
    untouched,
    { kind: 'report', state: 'paused', reason: 'io-error, no space left under disk root' },
  ],
]

for (const [name, happening, circumstances, expected] of cases) {
  test(name, () => {
    assert.deepEqual(decide(happening, circumstances), expected)
  })
}

test('every run state of QEMU has a state of ours and a reason', () => {
  const runStates =
    'debug inmigrate internal-error io-error paused postmigrate prelaunch finish-migrate restore-vm running save-vm shutdown suspended watchdog guest-panicked colo'
  for (const runState of runStates.split(' ')) {
    const { state, reason } = stateFromRunState(runState)
    assert.ok(vmStates.includes(state))
    assert.notEqual(state, 'unknown', runState)
    assert.notEqual(reason, '')
  }
})

test('a run state that nobody has heard of is unknown, never shutoff', () => {
  for (const word of ['', 'toString', '__proto__', 'melted'])
    assert.equal(stateFromRunState(word).state, 'unknown')
})
