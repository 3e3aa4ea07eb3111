/** Everything under `/v1/secrets`. */
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { createSecret } from './create-secret.ts'
import { deleteSecret } from './delete-secret.ts'
import { requireSecret } from './secret-use.ts'
import { setSecret } from './set-secret.ts'
import { showSecret } from './show-secret.ts'

type SecretHandlerIds = 'listSecrets' | 'getSecret' | 'createSecret' | 'setSecret' | 'deleteSecret'

/** The handlers of secrets. */
export function createSecretHandlers(context: Context): Pick<Handlers, SecretHandlerIds> {
  const { store } = context.ports
  return {
    async listSecrets() {
      const made = store.secrets.list().filter(({ phase }) => phase !== 'creating')
      return made.map((secret) => showSecret(secret, store))
    },
    getSecret: async ({ params }) => showSecret(requireSecret(params.secret, store), store),
    createSecret: ({ body }) => createSecret(body, context),
    setSecret: async ({ params, body }) => setSecret(requireSecret(params.secret, store), body, context),
    async deleteSecret({ params }) {
      await deleteSecret(requireSecret(params.secret, store), context)
      return undefined
    },
  }
}
