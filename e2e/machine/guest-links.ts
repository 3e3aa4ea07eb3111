/** Links that a tiny guest got while it runs. */

/**
 * The command after which the address of a new link is the test's to give: the guest asks for a lease of each (tiny-root/sbin/hotplug), and udhcpc
 * begins by taking away what addresses there are.
 */
export function withoutDhcp(link: string): string {
  const file = `/run/dhcp.${link}/pid`
  return `until [ -s ${file} ]; do sleep 0.1; done; pid=$(cat ${file}); kill $pid; while [ -d /proc/$pid ]; do sleep 0.1; done`
}
