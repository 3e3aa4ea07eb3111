/** A guest on descriptor 3: asks by ARP who has an address, and says `answered` when its network does, then waits for the end of stdin. */
import { Socket } from 'node:net'

const ownMac = '525400000001'
const nobodysMac = '000000000000'
const anyone = 'ffffffffffff'
const arp = '0806'
/** Ethernet, IPv4, lengths of their addresses. */
const kinds = '0001' + '0800' + '06' + '04'
const request = '0001'
const ownAddress = '0a0002fe'
const askedAddress = '0a000202'

const frame = Buffer.from(
  anyone + ownMac + arp + kinds + request + ownMac + ownAddress + nobodysMac + askedAddress,
  'hex',
)
const length = Buffer.alloc(4)
length.writeUInt32BE(frame.length)

const network = new Socket({ fd: 3 })
let received = Buffer.alloc(0)
network.on('data', (chunk: Buffer) => {
  received = Buffer.concat([received, chunk])
  const answer = received.subarray(4) // Behind its length; nothing else is asked, so nothing else comes.
  if (answer.subarray(12, 14).toString('hex') === arp) process.stdout.write('answered\n')
})
network.on('close', () => process.exit())
network.write(Buffer.concat([length, frame]))
process.stdin.on('end', () => process.exit()).resume()
