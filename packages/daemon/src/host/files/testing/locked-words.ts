/** For tests: whether QEMU has a secret, by a second one that only opens with it (docs of qemu-system: `-object secret`, keyid). */
import { createCipheriv } from 'node:crypto'

/** 32 bytes, as AES-256 takes them. */
export const rightKey = 'thirty-two bytes, "quoted", \\ ö'
export const wrongKey = 'another one of thirty-two bytes!'

const iv = Buffer.alloc(16, 7)

/** The options of an object that can only be made where `key` is the id of an object with the right key. */
export function lockedWords(key: string) {
  const cipher = createCipheriv('aes-256-cbc', Buffer.from(rightKey), iv)
  const data = Buffer.concat([cipher.update('locked words'), cipher.final()]).toString('base64')
  return { 'qom-type': 'secret', keyid: key, iv: iv.toString('base64'), format: 'base64', data } as const
}
