/** The secrets of a simulated machine. */
import type { SecretFiles } from '../ports/secrets.ts'
import type { SimulatedMachine } from './machine.ts'

/** Its files. */
export function createSimulatedSecrets({ secrets }: SimulatedMachine): SecretFiles {
  return {
    async write(id, value) {
      secrets.set(id, value)
    },
    async generate(id) {
      secrets.set(id, `made for ${id}`)
    },
    async remove(id) {
      secrets.delete(id)
    },
  }
}
