/** File systems that a server holds or that other hosts write too, by what statfs(2) calls them (linux/magic.h, and the kernel's fs/). */
const shared: ReadonlySet<number> = new Set([
  0x6969, // nfs
  0xff53_4d42, // cifs
  0xfe53_4d42, // smb2
  0x517b, // smbfs
  0x00c3_6400, // ceph
  0x6573_5546, // fuse: sshfs, gluster, virtiofs
  0x0102_1997, // 9p
  0x5346_414f, // afs
  0x0116_1970, // gfs2
  0x7461_636f, // ocfs2
  0x0bd0_0bd0, // lustre
  0x4750_4653, // gpfs
])

/** Whether others than this host may have what lies there; not known is no. */
export function isShared(fileSystem: number | undefined): boolean {
  return fileSystem !== undefined && shared.has(fileSystem)
}
