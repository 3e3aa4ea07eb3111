/** The endpoints of secrets. None of them answers what a secret is. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { resourceName } from './names.ts'
import { newSecret, secret, secretValue } from './secret.ts'

const bySecret = z.strictObject({ secret: resourceName })

/** What can be asked of secrets. */
export const secretEndpoints = {
  listSecrets: endpoint({
    id: 'listSecrets',
    method: 'GET',
    path: '/v1/secrets',
    summary: 'All secrets, without what they are',
    response: z.array(secret),
  }),
  getSecret: endpoint({
    id: 'getSecret',
    method: 'GET',
    path: '/v1/secrets/{secret}',
    summary: 'What is known of a secret, without what it is',
    params: bySecret,
    response: secret,
  }),
  // No idempotency key: the digest of the request that is kept under one would tell a guessed value from a wrong one.
  createSecret: endpoint({
    id: 'createSecret',
    method: 'POST',
    path: '/v1/secrets',
    summary: 'Keep a secret, or make one; no endpoint ever gives it back',
    body: newSecret,
    response: secret,
    status: 201,
  }),
  setSecret: endpoint({
    id: 'setSecret',
    method: 'PUT',
    path: '/v1/secrets/{secret}',
    summary:
      'Give a secret another value, as when a key was changed; refused while volumes are encrypted with it',
    params: bySecret,
    body: secretValue,
    response: secret,
  }),
  deleteSecret: endpoint({
    id: 'deleteSecret',
    method: 'DELETE',
    path: '/v1/secrets/{secret}',
    summary: 'Delete a secret that nobody uses',
    params: bySecret,
  }),
} as const
