/**
 * A client of DHCPv6, as far as a test needs one: Debian's busybox has none, and others come with daemons. It runs in the namespace of a
 * guest and says the address that it is given at once (RFC 8415: Solicit with Rapid Commit, 18.2.1; options, 21).
 */
export const dhcp6Client = `
const { createSocket } = require('node:dgram')
const [mac, link] = process.argv.slice(1)
const option = (code, ...data) => Buffer.concat([Buffer.from([0, code, 0, Buffer.concat(data).length]), ...data])
const duid = Buffer.from('00030001' + mac.replaceAll(':', ''), 'hex')
const solicit = Buffer.concat([
  Buffer.from([1, 7, 7, 7]),
  option(1, duid),
  option(3, Buffer.alloc(12, 1)),
  option(8, Buffer.alloc(2)),
  option(14),
])
const find = (options, code) => {
  for (let at = 0; at + 4 <= options.length; ) {
    const end = at + 4 + options.readUInt16BE(at + 2)
    if (options.readUInt16BE(at) === code) return options.subarray(at + 4, end)
    at = end
  }
}
const socket = createSocket('udp6')
socket.on('message', (said) => {
  const leased = find(said.subarray(4), 3)
  const address = leased && find(leased.subarray(12), 5)
  if (said[0] !== 7 || !address) return
  const groups = address.subarray(0, 16).toString('hex').match(/.{4}/g)
  process.stdout.write(new URL('http://[' + groups.join(':') + ']').hostname.slice(1, -1))
  process.exit()
})
socket.bind(546, () => {
  // Its link has an address of its own a moment after it is up.
  const ask = () => socket.send(solicit, 547, 'ff02::1:2%' + link, () => {})
  ask()
  setInterval(ask, 1000)
  setTimeout(() => process.exit(1), 30000)
})
`
