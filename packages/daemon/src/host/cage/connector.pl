# Connects for a caged program that has no network. The program lives in an empty network namespace; the kernel hands each connect(2)
# of it to this (seccomp_unotify(2)). Where the address is one that it may reach, this makes the connection in the host's network and
# puts the socket in the place of the program's own (SECCOMP_IOCTL_NOTIF_ADDFD), which from then on speaks to the server without anybody
# between. Any other connect is refused, never let go on: the program could meanwhile change what was seen, and what it puts in the
# place of its socket may be one of the host's network. A socket that was put there is connected again, as Ceph does to ask whether it is,
# by this too.
#
# Run by launcher.pl for a jailed command and by connectors.ts for a VM, as root, in the namespaces of the daemon and in the cgroup of the
# program, with which it ends. Arguments: the processor, the pid of the program, a file of lines as model/storage/reach.ts writes them,
# or nothing, then such lines. The file is read anew for each connection, so that it can change while the program runs. Descriptor 3 tells
# the number of the listener and the pid of who has it, 4 is told that it was taken.
use strict;
use Socket qw(inet_pton);

my ($arch, $program, $file, @given) = @ARGV;

# asm/unistd_64.h, asm-generic/unistd.h
my $known = {
    x64 => { ppoll => 271, pidfd_open => 434, pidfd_getfd => 438, capset => 126 },
    arm64 => { ppoll => 73, pidfd_open => 434, pidfd_getfd => 438, capset => 91 },
}->{$arch} or exit 70;
# linux/seccomp.h
my ($RECEIVE, $SEND, $IS_VALID, $ADD) = (0xC0502100, 0xC0182101, 0x40082102, 0x40182103);
my $SETFD = 1;
# asm-generic/fcntl.h, socket.h, errno.h, poll.h, linux/tcp.h
my ($NONBLOCK, $CLOEXEC, $GETFL, $SETFL) = (04000, 02000000, 3, 4);
my ($INET, $INET6, $STREAM, $SOL_SOCKET, $SO_ERROR, $SO_TYPE, $SO_COOKIE, $TCP) = (2, 10, 1, 1, 4, 3, 57, 6);
my ($IN_USE, $UNREACHABLE, $IN_PROGRESS, $TIMED_OUT, $POLLIN, $POLLERR, $POLLHUP) = (98, 101, 115, 110, 1, 8, 16);
# What was said of the program's own socket holds for the one in its place too: keepalive; nodelay, keepalive times, tries, time-out.
my @options = ([$SOL_SOCKET, 9], map { [$TCP, $_] } 1, 4, 5, 6, 7, 18);
# How long a program that waits for its connection holds up its others.
my $BLOCKING_SECONDS = 10;

my $MOST_PLACED = 100_000;
my %placed;    # cookies of the sockets that were put in the place of others

$0 = 'kvasir-connector';
my $process = syscall($known->{pidfd_open}, $program + 0, 0);
$process == -1 and exit 71;
open my $orders, '<&=', 3 or exit 72;
open my $answers, '>&=', 4 or exit 72;
my ($number, $keeper) = split ' ', <$orders> // exit 0;
my $listener = taken($number, $keeper) // do { syswrite $answers, "it may not look into the program: $!"; exit 73 };
syswrite $answers, 'k';
close $_ for $orders, $answers;

# Only what it takes to look into the program, to read a file of root's, to bind a low port (linux/capability.h).
my ($DAC_READ_SEARCH, $NET_BIND_SERVICE, $SYS_PTRACE) = (1 << 2, 1 << 10, 1 << 19);
my $kept = $DAC_READ_SEARCH | $NET_BIND_SERVICE | $SYS_PTRACE;
my ($header, $sets) = (pack('LL', 0x20080522, 0), pack('L6', $kept, $kept, 0, 0, 0, 0));
syscall($known->{capset}, $header, $sets) == 0 or exit 74;

while (1) {
    my $polled = pack('lss', fileno $listener, $POLLIN, 0);
    syscall($known->{ppoll}, $polled, 1, 0, 0, 0) > 0 or next;
    my (undef, undef, $events) = unpack 'lss', $polled;
    exit 0 if $events & ($POLLHUP | $POLLERR);    # Nobody is left who could connect.
    my $notice = "\0" x 80;
    defined ioctl($listener, $RECEIVE, $notice) or next;
    my ($id, $thread, undef, undef, undef, undef, $fd, $address, $length) = unpack 'QLLlLQQ3', $notice;
    my $error = eval { connected($id, $thread, $fd, seen($id, $thread, $address, $length)) };
    ioctl($listener, $SEND, pack 'QqlL', $id, 0, -($error // $UNREACHABLE), 0);
}

# A descriptor of the program, or of another process, as a handle here.
sub taken {
    my ($fd, $pid) = @_;
    my $owner = defined $pid ? syscall($known->{pidfd_open}, $pid + 0, 0) : $process;
    my $copy = syscall($known->{pidfd_getfd}, $owner, $fd + 0, 0);
    $copy == -1 and return undef;
    open my $handle, '+<&=', $copy or return undef;
    return $handle;
}

# The address that a thread of the program connects to.
sub seen {
    my ($id, $thread, $at, $length) = @_;
    $length >= 16 && $length <= 128 or die "no address\n";
    open my $memory, '<:raw', "/proc/$thread/mem" or die "unreadable\n";
    sysseek $memory, $at, 0 or die "unreadable\n";
    my $bytes;
    (sysread($memory, $bytes, $length) // 0) == $length or die "unreadable\n";
    defined ioctl($listener, $IS_VALID, my $valid = pack 'Q', $id) or die "it has ended\n";    # and $thread may be another
    return $bytes;
}

# Connects, and puts the socket in its place; the number of the error that connect(2) ends with, or dies where it is none of ours.
sub connected {
    my ($id, $thread, $fd, $address) = @_;
    my ($family, $port) = unpack 'Sn', $address;
    my $host = $family == $INET ? substr $address, 4, 4 : $family == $INET6 && length $address >= 28 ? substr $address, 8, 16 : die "no\n";
    my $rule = allowed($host, $port) or die "not allowed\n";
    my $own = taken($fd) or die "no descriptor\n";
    unpack('i', getsockopt $own, $SOL_SOCKET, $SO_TYPE) == $STREAM or die "no stream\n";
    return connect($own, $address) ? 0 : $! + 0 if $placed{ cookie($own) };

    socket my $made, $family, $STREAM, 0 or return $! + 0;
    for my $option (@options) {
        my $value = getsockopt $own, $option->[0], $option->[1];
        setsockopt $made, $option->[0], $option->[1], $value if defined $value;
    }
    if ($rule->{reserved}) { my $error = bind_reserved($made, $family); return $error if $error }
    my $flags = fcntl $own, $GETFL, 0;
    fcntl $made, $SETFL, $flags | $NONBLOCK;
    my $error = connect($made, $address) ? 0 : $! + 0;
    if ($error == $IN_PROGRESS && !($flags & $NONBLOCK)) { $error = waited($made) }
    fcntl $made, $SETFL, $flags;
    $error == 0 || $error == $IN_PROGRESS or return $error;
    defined ioctl($listener, $ADD, pack 'QLLLL', $id, $SETFD, fileno $made, $fd, $CLOEXEC) or return $! + 0;
    %placed = () if keys %placed >= $MOST_PLACED;    # Those would be replaced when they are connected again, which few programs do.
    $placed{ cookie($made) } = 1;
    return $error;
}

# The number that no other socket has or will have (socket(7)).
sub cookie { return unpack 'Q', getsockopt($_[0], $SOL_SOCKET, $SO_COOKIE) // die "no socket\n" }

sub waited {
    my ($made) = @_;
    vec(my $bits = '', fileno $made, 1) = 1;
    select(undef, $bits, undef, $BLOCKING_SECONDS) > 0 or return $TIMED_OUT;
    return unpack 'i', getsockopt $made, $SOL_SOCKET, $SO_ERROR;
}

# From 1023 down, as others do who are root on their hosts.
sub bind_reserved {
    my ($made, $family) = @_;
    for my $port (reverse 665 .. 1023) {
        my $from = $family == $INET ? pack('Snx12', $family, $port) : pack('Snx24', $family, $port);
        bind $made, $from and return 0;
        $! == $IN_USE or return $! + 0;
    }
    return $IN_USE;
}

# The first line that an address and a port are in.
sub allowed {
    my ($host, $port) = @_;
    my @lines = @given;
    if ($file ne '') { open my $from, '<', $file or return undef; @lines = <$from> }
    for my $line (@lines) {
        my ($of, $bits, $first, $last, $reserved) = split ' ', $line;
        my $network = inet_pton($of =~ /:/ ? $INET6 : $INET, $of) // next;
        next unless length $network == length $host && $port >= $first && $port <= $last;
        next unless substr(unpack('B*', $network), 0, $bits) eq substr(unpack('B*', $host), 0, $bits);
        return { reserved => $reserved };
    }
    return undef;
}
