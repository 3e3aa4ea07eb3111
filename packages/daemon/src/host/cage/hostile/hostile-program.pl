# A hostile program in the emulator's place: tries ways out of the cage, prints one line each,
#     NAME: blocked (ERRNO)    or    NAME: ESCAPED
# and then waits to be killed. For tests only; perl-base is essential in Debian and can make any system call.
# Arguments: pid of the test, pid of another caged VM, TCP port and UNIX socket and abstract socket and System V memory of the
# host, path of another VM's disk, highest number of processes allowed, descriptors that were given on purpose (comma-separated).
use strict;
use warnings;
use Errno;
use Fcntl;
use POSIX ();
use Socket;

our ($handle, $socket, $tun);
my ($host, $victim, $port, $path, $abstract, $memory, $disk, $processes, $given) = @ARGV;
$_ += 0 for $host, $victim, $port, $memory, $processes; # A string would reach the kernel as a pointer.
$| = 1;
$SIG{PIPE} = 'IGNORE';
my %errno_name = reverse map { no strict 'refs'; ($_ => &{"Errno::$_"}()) } grep { exists $!{$_} } keys %!;

# System calls by number: x86_64, then arm64. Those after pidfd_send_signal have one number everywhere.
my %number = map { my ($name, $x86, $arm) = split /:/; ($name => [$x86, $arm]) } qw(
  unshare:272:97 setns:308:268 mount:165:40 umount2:166:39 pivot_root:155:41 chroot:161:51 mknodat:259:33 setuid:105:146
  setgid:106:144 setgroups:116:159 setresuid:117:147 setresgid:119:149 setfsuid:122:151 setfsgid:123:152 capset:126:91 prctl:157:167
  keyctl:250:219 ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 pidfd_open:434:434 pidfd_send_signal:424:424
  pidfd_getfd:438:438 prlimit:302:261 setpriority:141:140 sched_setaffinity:203:122 sched_setscheduler:144:119 ioprio_set:251:30
  sethostname:170:161 setdomainname:171:162 settimeofday:164:170 clock_settime:227:112 adjtimex:159:171 reboot:169:142
  kexec_load:246:104 init_module:175:105 finit_module:313:273 delete_module:176:106 swapon:167:224 swapoff:168:225 syslog:103:116
  acct:163:89 quotactl:179:60 iopl:172: ioperm:173: bpf:321:280 perf_event_open:298:241 userfaultfd:323:282
  open_by_handle_at:304:265 name_to_handle_at:303:264 fsopen:430:430 open_tree:428:428 mount_setattr:442:442 fanotify_init:300:262
  move_pages:279:239 migrate_pages:256:238 kcmp:312:272 vhangup:153:58 mlock:149:228 clone:56:220 mmap:9:222 fchmod:91:52
  process_madvise:440:440 memfd_create:319:279 execveat:322:281 mq_open:180:180 getpid:39:172
);
my $arch = (POSIX::uname())[4] eq 'aarch64' ? 1 : 0;

sub attempt {
  my ($name, $code) = @_;
  $! = 0;
  my $escaped = eval { $code->() };
  my $errno = $! + 0;
  return print "$name: BROKEN $@" if $@;
  print $escaped ? "$name: ESCAPED\n" : "$name: blocked (" . ($errno_name{$errno} // $errno) . ")\n";
}
sub call {
  my ($name, @args) = @_;
  my $result = syscall($number{$name}[$arch], @args);
  return $result;
}
sub attempt_call {
  my ($name, $call, @args) = @_;
  return if ($number{$call}[$arch] // '') eq '';
  attempt($name, sub { call($call, @args) != -1 });
}
sub can_read { my ($file) = @_; return sub { sysopen($handle, $file, O_RDONLY | O_NONBLOCK) && defined sysread($handle, my $byte, 1) } }
sub can_list { my ($directory) = @_; return sub { opendir($handle, $directory) } }
sub can_find { my ($directory) = @_; return sub { opendir($handle, $directory) or return 0; $! = Errno::ENOENT(); grep { !/^\.\.?$/ } readdir $handle } }
sub can_create { my ($file) = @_; return sub { sysopen($handle, $file, O_WRONLY | O_CREAT) } }
sub can_write { my ($file) = @_; return sub { sysopen($handle, $file, O_WRONLY | O_NONBLOCK) } }

# What was left open by mistake. First, because this program opens more.
attempt('have a descriptor that was not given', sub {
  my %given = map { $_ => 1 } split /,/, $given;
  my @found = grep { !$given{$_} && POSIX::dup2($_, 900) && POSIX::close(900) } 0 .. 899;
  print "# descriptors: @found\n" if @found; $! = Errno::EBADF(); @found > 0;
});

# What the host keeps secret.
attempt("read $_", can_read($_)) for '/etc/shadow', '/etc/passwd', '/etc/hostname', '/proc/1/environ', '/proc/self/status',
  '/proc/self/root/etc/shadow', '/proc/1/root/etc/shadow', "/proc/$host/maps", "/proc/$victim/mem", '/proc/kcore', '/proc/sysrq-trigger',
  '/sys/kernel/vmcoreinfo', '/sys/class/net/lo/address', '/old/etc/shadow', '/../etc/shadow', '/../../../etc/shadow',
  '/usr/../etc/shadow', '/run/vm/../../../etc/shadow', '/boot/initrd/../../etc/shadow', $disk, "/dev/fd/0";
attempt("list $_", can_list($_)) for '/root', '/home', '/var/lib', '/etc', '/proc', '/tmp', '/run/kvasir', '/sys/fs/cgroup',
  '/var/log', '/run/user', '/run/systemd';
attempt("find anything in $_", can_find($_)) for '/sys', '/dev/dri';    # Empty where nothing is drawn on a GPU.
attempt("list what lies over the root", sub { chdir('/..'); can_find('.')->() });
chdir '/';

# Devices.
attempt("open $_", can_read($_)) for qw(/dev/mem /dev/kmem /dev/port /dev/kmsg /dev/sda /dev/vda /dev/nvme0n1 /dev/dm-0 /dev/loop-control
  /dev/fuse /dev/vhost-net /dev/vhost-vsock /dev/tty /dev/tty0 /dev/console /dev/ptmx /dev/shm /dev/userfaultfd /dev/hwrng
  /dev/uinput /dev/snapshot /dev/btrfs-control /dev/cuse /dev/mapper/control /dev/cpu/0/msr);
attempt('make a tap', sub { my $request = pack('a16 s x22', 'tap', 2); sysopen($tun, '/dev/net/tun', O_RDONLY) && ioctl($tun, 0x400454ca, $request) });
# Places where devices of the host are laid for those that were given some (VFIO_GET_API_VERSION, VFIO_GROUP_GET_STATUS).
attempt('ask for devices of the host', sub { sysopen($tun, '/dev/vfio/vfio', O_RDONLY) && ioctl($tun, 0x3b64, 0) });
attempt('ask for a group of devices of the host', sub { my $status = pack('L2', 8, 0); sysopen($tun, '/dev/vfio/0', O_RDONLY) && ioctl($tun, 0x3b67, $status) });
for my $device (['a memory device', 0020666, (1 << 8) | 1], ['a disk', 0060666, (254 << 8) | 0], ['a kvm', 0020666, (10 << 8) | 232]) {
  attempt_call("make $device->[0] in /run/vm", 'mknodat', -100, "/run/vm/node", $device->[1], $device->[2]);
}
attempt("change the mode of $_", sub { chmod 0777, $_ }) for '/', '/dev/null', '/usr', '/usr/bin/perl', '/boot/kernel';
attempt_call('change the mode of the host\'s null device', 'fchmod', 0, 0600);
attempt_call('change the mode of the log pipe', 'fchmod', 1, 0666);

# Writing where it must not.
attempt("create $_", can_create($_)) for qw(/escape /usr/escape /usr/bin/escape /usr/local/bin/escape /dev/escape /boot/escape /in/escape
  /out/escape /run/escape /run/net/escape /memory/escape /old/escape /empty/escape /tmp/escape /lib/escape /complete.new);
attempt("write $_", can_write($_)) for qw(/usr/bin/perl /boot/kernel /boot/initrd /usr/lib/os-release /complete);
attempt('truncate the kernel', sub { truncate '/boot/kernel', 0 });
attempt('remove the kernel', sub { unlink '/boot/kernel' });
attempt('remove perl', sub { unlink '/usr/bin/perl' });
attempt('rename /usr', sub { rename '/usr', '/usr2' });
attempt('make a directory in the root', sub { mkdir '/escape' });
attempt('make a link in the root', sub { symlink '/usr', '/escape' });
attempt('hard link a system file into /run/vm', sub { link '/usr/bin/perl', '/run/vm/perl' });
attempt('hard link the kernel into /run/vm', sub { link '/boot/kernel', '/run/vm/kernel' });
attempt('change times of a system file', sub { utime 1, 1, '/usr/bin/perl' });

# The directory that the VM may write until it is sealed.
symlink '/etc/shadow', '/run/vm/link';
attempt('read through a link in /run/vm', can_read('/run/vm/link'));
symlink '/', '/run/vm/root';
attempt('list through a link in /run/vm', can_list('/run/vm/root/etc'));
sub script { open(my $file, '>', $_[0]) or die; print $file "#!/bin/sh\nexit 0\n"; close $file; chmod 04755, $_[0] }
script('/run/vm/script');
attempt('run a program from /run/vm', sub { my $pid = fork // die; if (!$pid) { open STDERR, '>', '/dev/null'; { exec '/run/vm/script' } POSIX::_exit(99) } waitpid $pid, 0; my $code = $? >> 8; $! = Errno::EACCES(); $code != 99 });
attempt('map /run/vm executable', sub { sysopen(my $file, '/run/vm/script', O_RDONLY); call('mmap', 0, 4096, 5, 2, fileno $file, 0) != -1 });
symlink "$path", '/run/vm/vnc.sock';

# Gaining privileges.
attempt_call('become root', 'setuid', 0);
attempt_call('become group root', 'setgid', 0);
attempt_call('become root by setresuid', 'setresuid', 0, 0, 0);
attempt_call('become group root by setresgid', 'setresgid', 0, 0, 0);
attempt_call('become the other VM', 'setresuid', ((stat "/proc/$victim")[4] // $< + 1), -1, -1);
attempt_call('join the disk group', 'setgroups', 1, pack('L', 6));
attempt('become root for files', sub { call('setfsuid', 0); $! = Errno::EPERM(); call('setfsuid', -1) == 0 });
attempt('become group root for files', sub { call('setfsgid', 0); $! = Errno::EPERM(); call('setfsgid', -1) == 0 });
attempt_call('take every capability', 'capset', pack('LL', 0x20080522, 0), pack('L6', 0xffffffff, 0xffffffff, 0, 0xffffffff, 0xffffffff, 0));
attempt_call('take an ambient capability', 'prctl', 47, 2, 21, 0, 0);
attempt('have a capability in the bounding set', sub { $! = Errno::EPERM(); grep { call('prctl', 23, $_, 0, 0, 0) == 1 } 0 .. 40 });
attempt('drop no-new-privileges', sub { call('prctl', 38, 0, 0, 0, 0) != -1 || do { $! = Errno::EPERM(); call('prctl', 39, 0, 0, 0, 0) != 1 } });
attempt('gain by a set-uid program', sub {
  my ($program) = grep { -u $_ } '/usr/bin/su', '/usr/bin/mount', '/usr/bin/passwd', '/usr/bin/newgrp';
  $program // do { $! = Errno::ENOENT(); return 0 };
  my $pid = fork // die;
  if (!$pid) { open STDOUT, '>', '/dev/null'; open STDERR, '>', '/dev/null'; { exec '/usr/bin/mount', '-t', 'tmpfs', 'x', '/run/vm' } POSIX::_exit(99) }
  waitpid $pid, 0; my $code = $?; $! = Errno::EPERM(); $code == 0;
});
attempt_call('give a key to root', 'keyctl', 4, -4, 0, 0);

# Namespaces, mounts, roots.
my %namespaces = (user => 0x10000000, mount => 0x20000, network => 0x40000000, pid => 0x20000000, uts => 0x4000000, ipc => 0x8000000, cgroup => 0x2000000, time => 0x80);
attempt_call("unshare the $_ namespace", 'unshare', $namespaces{$_}) for sort keys %namespaces;
attempt('clone into a user namespace', sub { my $pid = call('clone', 0x10000000 | 17, 0, 0, 0, 0); POSIX::_exit(0) if $pid == 0; my $errno = $! + 0; waitpid $pid, 0 if $pid > 0; $! = $errno; $pid != -1 });
attempt('enter the host\'s namespaces by pidfd', sub { my $fd = call('pidfd_open', $host, 0); $fd != -1 && call('setns', $fd, 0x20000) != -1 });
attempt_call('mount a tmpfs', 'mount', 'x', '/run/vm', 'tmpfs', 0, '');
attempt_call('mount proc', 'mount', 'proc', '/run/vm', 'proc', 0, '');
attempt_call('mount devtmpfs', 'mount', 'dev', '/run/vm', 'devtmpfs', 0, '');
attempt_call('mount the cgroups', 'mount', 'x', '/run/vm', 'cgroup2', 0, '');
attempt_call('bind the root', 'mount', '/', '/run/vm', '', 4096, '');
attempt_call('remount the root writable', 'mount', '', '/', '', 32 | 4096, '');
attempt_call('remount /usr writable', 'mount', '', '/usr', '', 32 | 4096, '');
attempt_call('share mounts with the host', 'mount', '', '/', '', 0x100000, '');
attempt_call('unmount /usr', 'umount2', '/usr', 2);
attempt_call('unmount what lies over the root', 'umount2', '/', 2);
attempt_call('unmount /dev', 'umount2', '/dev', 2);
attempt_call('pivot the root', 'pivot_root', '/run/vm', '/run/vm');
attempt_call('chroot', 'chroot', '/run/vm');
attempt_call('open a file system', 'fsopen', 'tmpfs', 0);
attempt_call('clone the mount tree', 'open_tree', -100, '/', 1 | 0x8000);
attempt_call('make /usr writable by mount_setattr', 'mount_setattr', -100, '/usr', 0, pack('Q4', 0, 1, 0, 0), 32);
attempt('open a file by handle', sub {
  my $handle = pack('Ll', 8, 1) . pack('LL', 2, 0);
  sysopen(my $here, '/usr', O_RDONLY) or die;
  call('open_by_handle_at', fileno $here, $handle, 0) != -1;
});
attempt('leave by a directory that was opened before', sub {
  opendir($handle, '/') or die; chdir '/run/vm'; call('chroot', '/run/vm') != -1 && chdir($handle) && chroot '../../..';
});
chdir '/';

# Other processes.
for my $other (['init', 1], ['the test', $host], ['another VM', $victim]) {
  my ($name, $pid) = @$other;
  attempt("signal $name", sub { kill 0, $pid });
  attempt_call("trace $name", 'ptrace', 16, $pid, 0, 0);
  attempt_call("seize $name", 'ptrace', 0x4206, $pid, 0, 0);
  attempt("read the memory of $name", sub { my $buffer = "\0" x 8; my $local = pack('PQ', $buffer, 8); my $remote = pack('QQ', 0x400000, 8); call('process_vm_readv', $pid, $local, 1, $remote, 1, 0) != -1 });
  attempt("signal $name by pidfd", sub { my $fd = call('pidfd_open', $pid, 0); $fd != -1 && call('pidfd_send_signal', $fd, 0, 0, 0) != -1 });
  attempt("steal a descriptor of $name", sub { my $fd = call('pidfd_open', $pid, 0); $fd != -1 && call('pidfd_getfd', $fd, 0, 0) != -1 });
  attempt("limit $name", sub { my $old = "\0" x 16; call('prlimit', $pid, 7, 0, $old) != -1 });
  attempt_call("renice $name", 'setpriority', 0, $pid, 19);
  attempt("pin $name", sub { call('sched_setaffinity', $pid, 8, pack('Q', 1)) != -1 });
  attempt("compare with $name", sub { call('kcmp', $$, $pid, 0, 0, 0) != -1 });
  attempt("move pages of $name", sub { call('migrate_pages', $pid, 8, pack('Q', 1), pack('Q', 1)) != -1 });
}
attempt('join a process group of the host', sub { POSIX::setpgid(0, $host) });

# Resources beyond the share.
attempt_call('be more important', 'setpriority', 0, 0, -20);
attempt_call('be real-time', 'sched_setscheduler', 0, 1, pack('l', 10));
attempt_call('have real-time disk access', 'ioprio_set', 1, 0, (1 << 13));
for my $limit (['open files', 7], ['processes', 6], ['locked memory', 8], ['core size', 4], ['priority', 13], ['real-time priority', 14]) {
  attempt_call("raise the limit of $limit->[0]", 'prlimit', 0, $limit->[1], pack('QQ', 1 << 40, 1 << 40), 0);
}
attempt('lock much memory', sub { my $block = "\0" x (32 << 20); call('mlock', $block, 32 << 20) != -1 });
attempt('open very many files', sub { my @open; while (@open < 5000) { last unless sysopen($open[@open], '/dev/null', O_RDONLY) } @open >= 5000 });
attempt('write the OOM score', can_write('/proc/self/oom_score_adj'));
attempt('leave the cgroup', can_write('/sys/fs/cgroup/cgroup.procs'));
attempt('leave the cgroup on a hybrid host', can_write('/sys/fs/cgroup/unified/cgroup.procs'));

# The host itself.
attempt_call('name the host', 'sethostname', 'escape', 6);
attempt_call('name the domain', 'setdomainname', 'escape', 6);
attempt_call('set the time', 'settimeofday', pack('qq', 1, 0), 0);
attempt_call('set the clock', 'clock_settime', 0, pack('qq', 1, 0));
attempt_call('adjust the clock', 'adjtimex', pack('L x4 q26', 2, (0) x 26));
attempt_call('restart the host', 'reboot', 0xfee1dead, 672274793, 0x89abcdef, 0);
attempt_call('load another kernel', 'kexec_load', 0, 0, 0, 0);
attempt_call('load a module', 'init_module', "\x7fELF", 4, '');
attempt('load a module from a file', sub { sysopen(my $file, '/usr/bin/perl', O_RDONLY); call('finit_module', fileno $file, '', 0) != -1 });
attempt_call('remove a module', 'delete_module', 'kvm', O_NONBLOCK);
attempt_call('swap on', 'swapon', '/boot/kernel', 0);
attempt_call('swap off', 'swapoff', '/dev/vda');
attempt_call('clear the kernel log', 'syslog', 5, 0, 0);
attempt_call('silence the console', 'syslog', 6, 0, 0);
attempt_call('account processes', 'acct', '/run/vm/script');
attempt_call('hang up the terminal', 'vhangup');
attempt_call('reach ports', 'ioperm', 0x70, 2, 1);
attempt_call('reach all ports', 'iopl', 3);
attempt('load a kernel probe', sub { my $code = pack('CCsl CCsl', 0xb7, 0, 0, 0, 0x95, 0, 0, 0); my $license = "GPL\0"; call('bpf', 5, pack('LLPP x96', 2, 2, $code, $license), 128) != -1 });
attempt('count events of the whole CPU', sub { call('perf_event_open', pack('LLQ x112', 0, 128, 0), -1, 0, -1, 0) != -1 });
attempt('count events of init', sub { call('perf_event_open', pack('LLQ x112', 0, 128, 0), 1, -1, -1, 0) != -1 });
attempt_call('handle faults of the kernel', 'userfaultfd', 0);
attempt_call('watch all files', 'fanotify_init', 4, 0);

# Networks and sockets of the host.
# A connect to a server waits for a connector, of which there is none.
sub connects { my ($family, $type, $address) = @_; return sub { local $SIG{ALRM} = sub { }; alarm 2; my $done = socket($socket, $family, $type, 0) && connect($socket, $address); my $error = $!; alarm 0; $! = $error; $done } }
attempt('connect to the host by TCP', connects(PF_INET, SOCK_STREAM, pack_sockaddr_in($port, INADDR_LOOPBACK)));
attempt('connect to the host by TCP over IPv6', connects(PF_INET6, SOCK_STREAM, pack_sockaddr_in6($port, Socket::IN6ADDR_LOOPBACK())));
attempt('send to the host by UDP', sub { socket($socket, PF_INET, SOCK_DGRAM, 0) && send($socket, 'x', 0, pack_sockaddr_in($port, INADDR_LOOPBACK)) });
attempt('send to the outside', sub { socket($socket, PF_INET, SOCK_DGRAM, 0) && send($socket, 'x', 0, pack_sockaddr_in(53, pack('C4', 192, 0, 2, 1))) });
attempt('open a raw socket', sub { socket($socket, PF_INET, SOCK_RAW, 1) });
attempt('open a packet socket', sub { socket($socket, 17, SOCK_RAW, 0x0300) });
attempt('bring a link up', sub { socket($socket, PF_INET, SOCK_DGRAM, 0); my $request = pack('a16 s x22', 'lo', 1); ioctl($socket, 0x8914, $request) });
attempt('connect to the daemon\'s socket', connects(PF_UNIX, SOCK_STREAM, pack_sockaddr_un($path)));
attempt('connect to an abstract socket of the host', connects(PF_UNIX, SOCK_STREAM, pack('S a*', PF_UNIX, "\0$abstract")));
attempt('connect to the message bus', connects(PF_UNIX, SOCK_STREAM, pack_sockaddr_un('/run/dbus/system_bus_socket')));
attempt('see a link besides lo', sub {
  socket($socket, PF_INET, SOCK_DGRAM, 0); my $name = '';
  for my $index (2 .. 64) { my $request = pack('a16 l x12', '', $index); $name = $request if ioctl($socket, 0x8910, $request) } $name ne '';
});
attempt('attach shared memory of the host', sub { my $buffer = ''; shmread($memory, $buffer, 0, 1) });
# Where seccomp is none, at least the seal holds: the test seals /run/vm after this line.
print "# seal\n";
for (1 .. 500) { last unless sysopen(my $file, "/run/vm/probe$_", O_WRONLY | O_CREAT); close $file; select undef, undef, undef, 0.01 }
attempt('create in the sealed directory', can_create('/run/vm/after'));
attempt('remove from the sealed directory', sub { unlink '/run/vm/script' });
attempt('rename in the sealed directory', sub { rename '/run/vm/script', '/run/vm/other' });
attempt('link in the sealed directory', sub { symlink '/etc/shadow', '/run/vm/after' });
attempt('bind a socket in the sealed directory', sub { socket($socket, PF_UNIX, SOCK_STREAM, 0) && bind($socket, pack_sockaddr_un('/run/vm/after')) });
attempt('list the sealed directory', can_list('/run/vm'));
attempt('take the sealed directory back', sub { chmod 0777, '/run/vm' });
attempt('own the sealed directory', sub { chown $<, -1, '/run/vm' });

# Last, because it fills the share of processes.
attempt('start very many processes', sub {
  my @children;
  while (@children <= $processes) { my $pid = fork; last unless defined $pid; if ($pid == 0) { sleep 60; POSIX::_exit(0) } push @children, $pid }
  my $errno = $! + 0; kill 9, @children; waitpid $_, 0 for @children; $! = $errno; @children > $processes;
});
# What the cage alone does not close; printed, not counted.
my $description = join '', map { "\0" } 1 .. 256;
if (syscall($number{keyctl}[$arch], 6, -3, $description, 256) > 0) {
  my (undef, $uid) = split /;/, $description;
  print "# gap: the session keyring of the daemon is inherited\n" if $uid != $<;
}
print "# gap: vsock sockets are not bound to a network namespace\n" if socket($socket, 40, SOCK_STREAM, 0);
print "# done\n";
sleep 600;
