/**
 * The Debian packages that the lab's root file system is made of, with all they depend on. They are unpacked and not configured: none
 * of their scripts runs (build-image.ts does by hand the little that is needed of them).
 */

/** The release that the lab is; its kernel and the QEMU in it come from it. */
export const labSuite = 'trixie'

/** Where a newer emulator for the lab itself comes from. */
export const emulatorSuite = `${labSuite}-backports`
/** The emulator of the lab itself, with its firmware. */
export const emulatorPackages = ['qemu-system-x86', 'seabios', 'ipxe-qemu'] as const

/** Each package with what it is for. */
const packages = [
  // A system that boots and has a shell.
  { names: ['base-files', 'base-passwd', 'netbase', 'libc-bin', 'ca-certificates'], why: 'the frame' },
  { names: ['bash', 'dash', 'coreutils', 'debianutils', 'findutils', 'diffutils', 'grep'], why: 'a shell' },
  {
    names: ['sed', 'mawk', 'tar', 'gzip', 'xz-utils', 'zstd', 'hostname', 'less', 'vim-tiny'],
    why: 'a shell',
  },
  { names: ['ncurses-base', 'ncurses-bin', 'procps', 'psmisc', 'lsof', 'strace'], why: 'looking around' },
  { names: ['util-linux', 'util-linux-extra', 'mount', 'fdisk', 'e2fsprogs', 'kmod'], why: 'disks, modules' },
  { names: ['busybox-static'], why: 'its init, and the initramfs' },
  { names: ['udev'], why: 'nodes, links and modules for what is plugged in' },
  { names: ['bsdutils'], why: 'script: terminals for shells' },
  { names: ['linux-image-amd64'], why: 'kvm-amd, igb, vfio-pci, dm-thin, zswap, nfsd and the rest' },
  // What Kvasir works with.
  {
    names: ['qemu-system-x86', 'qemu-utils', 'ovmf', 'swtpm', 'virtiofsd'],
    why: 'emulators and their helpers',
  },
  {
    names: ['passt', 'perl', 'cpio', 'genisoimage', 'dosfstools', 'mtools', 'git'],
    why: 'Kvasir and its tests',
  },
  // What a host has to offer.
  { names: ['iproute2', 'iputils-ping', 'nftables', 'dnsmasq-base', 'ethtool'], why: 'networks' },
  { names: ['pciutils', 'numactl'], why: 'an independent view of PCI and NUMA' },
  { names: ['lvm2', 'dmsetup', 'thin-provisioning-tools', 'cryptsetup-bin', 'mdadm'], why: 'device mapper' },
  { names: ['nfs-kernel-server', 'nfs-common'], why: 'an NFS server and its client' },
  { names: ['tgt', 'open-iscsi'], why: 'an iSCSI target and its initiator' },
  { names: ['qemu-block-extra'], why: "QEMU's own clients of iSCSI and NFS" },
  {
    names: ['qemu-system-modules-opengl', 'libegl1', 'libopengl0', 'libgl1-mesa-dri'],
    why: '3D, on the CPU',
  },
  { names: ['xfsprogs', 'btrfs-progs'], why: 'file systems that share extents' },
] as const satisfies readonly { readonly names: readonly string[]; readonly why: string }[]

/** The names of all packages. */
export const labPackages: readonly string[] = packages.flatMap(({ names }) => [...names])

/** The kernel modules that find and mount the root file system. */
export const rootModules = ['virtio_blk', 'ext4'] as const
