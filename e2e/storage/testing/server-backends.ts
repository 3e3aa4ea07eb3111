/** Pools on servers that QEMU speaks to itself: the LUNs of a target, files of an NFS server, images of Ceph; all real and beside the test. */
import { readdir, stat } from 'node:fs/promises'
import { type CephCluster, startCeph } from '../../../tools/servers/ceph-cluster.ts'
import { openIscsiServer } from '../../../tools/servers/iscsi-target.ts'
import { openNfsServer } from '../../../tools/servers/nfs-server.ts'
import type { StorageBackend } from '../backend.ts'
import { blocksSpace } from '../guest-blocks.ts'

const target = 'iqn.2026-11.example:tested'
const chap = { user: 'alice', secret: 'a secret of alice' }
const spareLuns = 3

/** The LUNs of a target that asks for CHAP. */
export const iscsiBackend: StorageBackend = {
  name: 'iscsi',
  format: 'raw',
  async open(t, _world, cli) {
    const server = await openIscsiServer()
    t.after(() => server[Symbol.asyncDispose]())
    const sizes = Array.from({ length: spareLuns }, () => blocksSpace)
    await server.addTarget(target, sizes, chap)
    await cli.give(chap.secret, 'secret', 'create', 'chap', '--file', '-')
    await cli.give('another secret', 'secret', 'create', 'wrong', '--file', '-')
    const place = (iqn: string) => [
      '--type',
      'iscsi',
      '--server',
      server.address,
      '--port',
      String(server.port),
      '--target',
      iqn,
    ]
    const login = (user: string, secret: string) => ['--user', user, '--secret', secret]
    const bad = (says: RegExp, ...args: readonly string[]) => ({
      argv: ['pool', 'create', 'bad', ...args],
      says,
    })
    return {
      pool: [...place(target), ...login(chap.user, 'chap')],
      luns: sizes.map((_, index) => `lun-${index + 1}`),
      badPools: [
        bad(/CHAP/, ...place(target), ...login(chap.user, 'wrong')),
        bad(/CHAP/, ...place(target), ...login('mallory', 'chap')),
        bad(/CHAP/, ...place(target)),
        bad(/no such target/, ...place('iqn.2026-11.example:none'), ...login(chap.user, 'chap')),
      ],
      bad: [
        { argv: ['volume', 'create', 'tested/bad', '--size', '1MiB'], says: /makes no volumes/ },
        { argv: ['volume', 'import', 'tested/bad', 'lun-99', '--format', 'raw'], says: /lun-99/ },
      ],
      async differences() {
        const files = sizes.map((_, index) => server.file(target, index + 1))
        const wrong = await Promise.all(files.map(async (file) => (await stat(file)).size !== blocksSpace))
        return files.filter((_, index) => wrong[index]).map((file) => `${file} has another size.`)
      },
      killServer: () => server.killAndRestart(),
      hangServer() {
        server.stop()
        return { [Symbol.asyncDispose]: async () => server.goOn() }
      },
    }
  },
}

/** Files of an export that nobody mounts. */
export const nfsBackend: StorageBackend = {
  name: 'nfs',
  format: 'raw',
  async open(t) {
    const server = await openNfsServer()
    t.after(() => server[Symbol.asyncDispose]())
    return {
      pool: ['--type', 'nfs', '--server', server.address, '--export', server.folder, '--direct'],
      badPools: [],
      bad: [],
      async differences(volumes) {
        const files = (await readdir(server.folder)).filter((name) => name !== '.kvasir-pool')
        const own = volumes.filter(({ liesIn }) => liesIn === undefined)
        return files.length === own.length
          ? []
          : [`There are ${own.length} volumes and the files ${files.join(', ')}.`]
      },
      hangServer() {
        server.stop()
        return { [Symbol.asyncDispose]: async () => server.goOn() }
      },
    }
  },
}

/** Images of a Ceph, whose namespace is this test's own. */
export const rbdBackend: StorageBackend = {
  name: 'rbd',
  format: 'raw',
  async open(t, _world, cli) {
    const ceph = await startCeph()
    t.after(() => ceph[Symbol.asyncDispose]())
    await ceph.tool('rbd', 'namespace', 'create', 'rbd/tested')
    await cli.give(ceph.key, 'secret', 'create', 'cephx', '--file', '-')
    await cli.give(ceph.wrongKey, 'secret', 'create', 'wrong', '--file', '-')
    const place = (pool: string, namespace = 'tested') => [
      '--type',
      'rbd',
      '--monitors',
      ceph.monitor,
      '--ceph-pool',
      pool,
      '--namespace',
      namespace,
    ]
    const login = (secret: string) => ['--user', ceph.user, '--secret', secret]
    const bad = (says: RegExp, ...args: readonly string[]) => ({
      argv: ['pool', 'create', 'bad', ...args],
      says,
    })
    return {
      pool: [...place(ceph.cephPool), ...login('cephx')],
      badPools: [
        bad(/refuses user/, ...place(ceph.cephPool), ...login('wrong')),
        bad(/no Ceph pool none/, ...place('none'), ...login('cephx')),
        bad(/namespace none/, ...place(ceph.cephPool, 'none'), ...login('cephx')),
      ],
      bad: [
        { argv: ['volume', 'import', 'tested/bad', 'nothing', '--format', 'raw'], says: /nothing called/ },
      ],
      differences: (volumes) => rbdDifferences(ceph, volumes.length),
      hangServer() {
        ceph.stop('osd')
        return { [Symbol.asyncDispose]: async () => ceph.goOn('osd') }
      },
    }
  },
}

async function rbdDifferences(ceph: CephCluster, count: number): Promise<readonly string[]> {
  const images = (await ceph.tool('rbd', 'ls', 'rbd/tested')).split('\n').filter((name) => name !== '')
  return images.length === count ? [] : [`There are ${count} volumes and the images ${images.join(', ')}.`]
}
