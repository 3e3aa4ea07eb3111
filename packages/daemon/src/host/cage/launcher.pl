# Closes the cage around a program and becomes it. Run by launchers.ts as root, alone in its process group; why it is as it is stands in
# launcher-script.ts. It says on descriptor 3 the name of each step before it is tried, and what went wrong; the end of 3 means that
# the program has taken over. Nothing here is read from the environment, and no value is ever a command.
use strict;

my ($arch, $keeper) = @ARGV;

# asm/unistd_64.h, asm-generic/unistd.h
my %numbers = (
    x64 => {
        mount => 165, umount2 => 166, pivot_root => 155, unshare => 272, sethostname => 170, prlimit64 => 302,
        mknodat => 259, close => 3, close_range => 436, openat2 => 437, dup3 => 292, pidfd_open => 434, pidfd_getfd => 438, prctl => 157,
        capset => 126, setgroups => 116, setresgid => 119, setresuid => 117, setns => 308, seccomp => 317,
    },
    arm64 => {
        mount => 40, umount2 => 39, pivot_root => 41, unshare => 97, sethostname => 161, prlimit64 => 261,
        mknodat => 33, close => 57, close_range => 436, openat2 => 437, dup3 => 24, pidfd_open => 434, pidfd_getfd => 438, prctl => 167,
        capset => 91, setgroups => 159, setresgid => 149, setresuid => 147, setns => 268, seccomp => 277,
    },
);

open my $status, '>&=', 3 or exit 70;
open my $admission, '<&=', 6 or exit 70;
my $number = $numbers{$arch} or fail("the processor $arch is not known here");

sub say_status { syswrite $status, "$_[0]\n" }
sub step { say_status("\@step $_[0]") }
sub fail { say_status($_[0]); exit 70 }

# A system call that must succeed. Copies its arguments, since perl hands out pointers to them.
sub call {
    my ($name, $what, @arguments) = @_;
    my $result = syscall($number->{$name}, @arguments);
    $result != -1 or fail("$name $what: $!");
    return $result;
}

# So many bytes of what the daemon says; its end before that is the end of this.
sub receive {
    my ($bytes) = @_;
    my $text = '';
    while (length $text < $bytes) {
        sysread $admission, $text, $bytes - length $text, length $text or exit 0;
    }
    return $text;
}

my %limits;    # number of the resource => value

sub limit {
    my ($resource) = @_;
    return unless exists $limits{$resource};
    my $value = $limits{$resource};
    call('prlimit64', "$resource to $value", 0, $resource, pack('QQ', $value, $value), 0);
}

# sys/resource.h
my ($CPU, $FSIZE, $CORE, $NPROC, $NOFILE, $MEMLOCK, $AS) = (0, 1, 4, 6, 7, 8, 9);
# sys/mount.h
my ($REMOUNT, $BIND, $REC, $PRIVATE, $DETACH) = (32, 4096, 16384, 1 << 18, 2);
# linux/prctl.h
my ($PDEATHSIG, $THP_DISABLE, $KILL) = (1, 41, 9);
my ($CAPBSET_DROP, $NO_NEW_PRIVS, $AMBIENT, $AMBIENT_CLEAR_ALL) = (24, 38, 47, 4);
# errno.h, fcntl.h, linux/stat.h
my ($EINVAL, $SETFD, $CLOEXEC, $CLOSE_ON_EXEC, $AT_FDCWD, $FIFO) = (22, 2, 1, 02000000, -100, 0010000);

# What is asked of the kernel (linux/filter.h, linux/seccomp.h, linux/audit.h, asm/unistd_64.h, asm-generic/unistd.h). A socket that was
# put in the place of another is in the host's network, so each connect is handed over or refused, and so is what else could connect it:
# calls of another architecture, sending with TCP Fast Open, io_uring.
my ($LOAD, $EQUAL, $GREATER, $LEAST, $ANY, $RETURN, $SKIP) = (0x20, 0x15, 0x25, 0x35, 0x45, 0x06, 0x05);
my ($NOTIFY, $ALLOW, $ERRNO, $ENOSYS, $EOPNOTSUPP, $ENETUNREACH) = (0x7fc00000, 0x7fff0000, 0x50000, 38, 95, 101);

# An address of another size than those of IPv4 and IPv6 have is no server's: what asks for a UNIX socket, as a C library does, is told
# at once, also where nobody listens.
sub reach_filter {
    my ($audit, $connect, $sendto, $sendmsg, $sendmmsg) =
        $arch eq 'x64' ? (0xC000003E, 42, 44, 46, 307) : (0xC00000B7, 203, 206, 211, 269);
    my ($FASTOPEN, $X32, @sizes) = (0x20000000, 0x40000000, 16, 28);
    return pack '(SCCL)*',
        $LOAD, 0, 0, 4,
        $EQUAL, 1, 0, $audit,
        $RETURN, 0, 0, $ERRNO | $ENOSYS,
        $LOAD, 0, 0, 0,
        $LEAST, 0, 1, $X32,
        $RETURN, 0, 0, $ERRNO | $ENOSYS,
        $EQUAL, 4, 0, $connect,
        $EQUAL, 8, 0, $sendto,
        $EQUAL, 7, 0, $sendmmsg,
        $EQUAL, 8, 0, $sendmsg,
        $RETURN, 0, 0, $ALLOW,
        $LOAD, 0, 0, 32,    # the third argument's lower half: the size of the address
        $EQUAL, 2, 0, $sizes[0],
        $EQUAL, 1, 0, $sizes[1],
        $RETURN, 0, 0, $ERRNO | $ENETUNREACH,
        $RETURN, 0, 0, $NOTIFY,
        $LOAD, 0, 0, 40,    # the fourth's: flags
        $SKIP, 0, 0, 1,
        $LOAD, 0, 0, 32,
        $ANY, 0, 1, $FASTOPEN,
        $RETURN, 0, 0, $ERRNO | $EOPNOTSUPP,
        $RETURN, 0, 0, $ALLOW;
}

# The other filter has refused other architectures.
sub ring_filter {
    my @io_uring = (425, 427);
    return pack '(SCCL)*',
        $LOAD, 0, 0, 0,
        $LEAST, 0, 2, $io_uring[0],
        $GREATER, 1, 0, $io_uring[1],
        $RETURN, 0, 0, $ERRNO | $ENOSYS,
        $RETURN, 0, 0, $ALLOW;
}

my ($SET_FILTER, $NEW_LISTENER) = (1, 8);

# What the kernel answers: the listener where one is asked for. Undefined where it refuses.
sub load_filter {
    my ($flags, $filter) = @_;
    my $answer = syscall($number->{seccomp}, $SET_FILTER, $flags, pack 'Sx6P', length($filter) / 8, $filter);
    return $answer == -1 ? undef : $answer;
}

# The keeper of the logs: a shell that waits for its words on descriptor 5 as this does on 6. It is nobody's child, since the program would
# be left with it. It keeps the listener too (3), for a connector that comes some day: the program must not have it, since who has it
# may let any connect go on. Where the kernel gives none, there is no filter either.
sub start_keeper {
    my $listener = load_filter($NEW_LISTENER, reach_filter());
    my $child = fork // fail("fork: $!");
    if ($child) {
        waitpid $child, 0;
        call('close', 'keeper', 5);
        call('close', 'listener', $listener) if defined $listener;
        return;
    }
    exit 0 if fork // exit 71;
    call('dup3', 'keeper', 5, $_, 0) for 0 .. 2;
    call('dup3', 'listener', $listener, 3, 0) if defined $listener;
    call('close_range', '', defined $listener ? 4 : 3, 0xffffffff, 0);
    exec '/bin/sh', '-c', $keeper, 'kvasir-log';
    exit 71;
}

step('namespaces');
start_keeper() if defined $keeper;
my ($NEWNS, $NEWUTS, $NEWIPC, $NEWNET) = (0x20000, 0x4000000, 0x8000000, 0x40000000);
call('unshare', '', $NEWUTS | $NEWIPC | $NEWNET);
call('sethostname', '', 'kvasir', 6);

# A launcher that is held ready waits here. Which mounts the host has is not looked at before.
my @words = split /\0/, receive(unpack 'N', receive(4)), -1;
my $daemon = shift @words;
my @descriptors = splice @words, 0, shift @words;
my ($template, $log, $serial, $uid, $gid, $without_thp, $ends_with_daemon) = splice @words, 0, 7;
my ($without_io_uring, $capabilities, $connector) = splice @words, 0, 3;
my @reach = splice @words, 0, shift @words;
%limits = splice @words, 0, 2 * shift @words;
my @binds = splice @words, 0, 4 * shift @words;    # source, target, flags, options of a tmpfs, nothing for a bind, or that its path has no links
my @program = @words;

my ($to_connector, $from_connector);

# Who connects for the program (connector.pl): nobody's child either, in the daemon's network and among its mounts.
sub start_connector {
    my ($NET, $MOUNTS) = (0x40000000, 0x20000);
    pipe my $orders, my $to or fail("pipe: $!");
    pipe my $from, my $answers or fail("pipe: $!");
    my $program = $$;
    my $child = fork // fail("fork: $!");
    if ($child) {
        close $_ for $orders, $answers;
        waitpid $child, 0;
        ($to_connector, $from_connector) = ($to, $from);
        hear_connector();    # It has left these mounts before pivot_root takes every process among them along.
        return;
    }
    exit 0 if fork // exit 71;
    for (['net', $NET], ['mnt', $MOUNTS]) {
        my ($name, $type) = @$_;
        open my $namespace, '<', "/proc/$daemon/ns/$name" or exit 72;
        syscall($number->{setns}, fileno $namespace, $type) == 0 or exit 73;
    }
    syswrite $answers, 'k';
    call('dup3', 'orders', fileno $orders, 20, 0);
    call('dup3', 'answers', fileno $answers, 21, 0);
    call('dup3', 'connector', $_ + 17, $_, 0) for 3, 4;
    call('close_range', '', 5, 0xffffffff, 0);
    %ENV = ();
    exec '/usr/bin/perl', $connector, $arch, $program, '', @reach;
    exit 74;
}

sub hear_connector {
    sysread($from_connector, my $word, 200) or fail('who connects to servers for it has ended');
    $word eq 'k' or fail("who connects to servers for it ended: $word");
}

# From here on each connect(2) of this process and of what comes of it waits for the connector.
sub hand_connects_over {
    my $listener = load_filter($NEW_LISTENER, reach_filter()) // fail("seccomp listener: $!");
    load_filter(0, ring_filter()) // fail("seccomp: $!");
    local $SIG{PIPE} = 'IGNORE';
    syswrite $to_connector, "$listener $$\n";
    hear_connector();
    close $_ for $to_connector, $from_connector;
    call('close', 'listener', $listener);
}

step('descriptors');
if (@descriptors) {
    my %processes;    # the daemon's, and those that have opened a file for it (PID:DESCRIPTOR)
    # The places are taken first: what is opened meanwhile would get one of their numbers.
    call('dup3', 'place', 3, 10 + $_, $CLOSE_ON_EXEC) for 0 .. $#descriptors;
    for my $index (0 .. $#descriptors) {
        my ($descriptor, $owner) = reverse split /:/, $descriptors[$index];
        $owner //= $daemon;
        my $process = $processes{$owner} //= call('pidfd_open', $owner, $owner + 0, 0);
        my $copy = call('pidfd_getfd', $descriptor, $process, $descriptor + 0, 0);
        call('dup3', $copy, $copy, 10 + $index, 0);
        call('close', $copy, $copy);
    }
}

step('limits');
limit($_) for $CORE, $NOFILE, $MEMLOCK;

step('pipes');
for my $pipe (grep { $_ ne '' } $log, $serial) {
    unlink $pipe;
    call('mknodat', $pipe, $AT_FDCWD, $pipe, $FIFO | 0600, 0);
}

# A folder that a user chose: another may have put a link in its path meanwhile, and the kernel then says so (openat2(2)).
sub without_links {
    my ($path) = @_;
    my ($PATH, $NO_SYMLINKS) = (010000000, 4);
    my $how = pack 'QQQ', $PATH | $CLOSE_ON_EXEC, 0, $NO_SYMLINKS;
    return '/proc/self/fd/' . call('openat2', $path, $AT_FDCWD, $path, $how, length $how);
}

step('mounts');
call('unshare', 'mounts', $NEWNS);
call('mount', 'private', 'none', '/', 0, $REC | $PRIVATE, 0);
chdir $template or fail("$template: $!");
while (my ($source, $target, $flags, $tmpfs) = splice @binds, 0, 4) {
    if ($tmpfs eq 'without-links') {
        $source = without_links($source);
    }
    elsif ($tmpfs ne '') {
        call('mount', "a tmpfs ($tmpfs) on $target", $source, $target, 'tmpfs', $flags + 0, $tmpfs);
        next;
    }
    call('mount', "$source on $target", $source, $target, 0, $BIND, 0);
    call('mount', "$target again", 'none', $target, 0, $REMOUNT | $BIND | $flags, 0);
}

step('admission');
receive(1);

start_connector() if $connector ne '';

step('log');
my ($outputs, $serials);
$log eq '' or sysopen $outputs, $log, 1 or fail("$log: $!");
$serial eq '' or sysopen $serials, $serial, 1 or fail("$serial: $!");

step('root');
call('pivot_root', '', '.', 'old');
call('umount2', 'old', '/old', $DETACH);
chdir '/' or fail("/: $!");
umask 0077;

step('exec');
limit($_) for $CPU, $FSIZE, $NPROC, $AS;
call('prctl', 'thp', $THP_DISABLE, 1, 0, 0, 0) if $without_thp;
my $capability = 0;
$capability++ until !($capabilities >> $capability & 1)
    && syscall($number->{prctl}, $CAPBSET_DROP, $capability, 0, 0, 0) == -1;
$! == $EINVAL or fail("prctl capability $capability: $!");
call('prctl', 'ambient', $AMBIENT, $AMBIENT_CLEAR_ALL, 0, 0, 0);
call('setgroups', '', 0, 0);
call('setresgid', $gid, $gid + 0, $gid + 0, $gid + 0);
call('setresuid', $uid, $uid + 0, $uid + 0, $uid + 0);
call('capset', '', pack('LL', 0x20080522, 0), pack('LLLLLL', ($capabilities & 0xffffffff) x 2, 0, ($capabilities >> 32) x 2, 0));
call('prctl', 'no-new-privs', $NO_NEW_PRIVS, 1, 0, 0, 0);
hand_connects_over() if $to_connector;
$without_io_uring and (load_filter(0, ring_filter()) // fail("seccomp: $!"));
if ($ends_with_daemon) {
    call('prctl', 'end with the daemon', $PDEATHSIG, $KILL, 0, 0, 0);
    getppid == $daemon or exit 0;    # It has ended before that.
}
if ($outputs) { call('dup3', 'output', fileno $outputs, $_, 0) for 1, 2 }
if ($serials) { fileno $serials == 4 ? fcntl $serials, $SETFD, 0 : call('dup3', 'serial', fileno $serials, 4, 0) }
%ENV = ();
fcntl $_, $SETFD, $CLOEXEC for $status, $admission;    # perl has set it on what it opened itself
exec { $program[0] } @program or fail("$program[0]: $!");
