# Serves a NIC in user mode where passt is missing: QEMU's own stack (slirp), in a QEMU without a machine, and this between it and the guest.
# Run by slirp-helper.ts as root, in the cgroup of the VM, with one end of the NIC's socket as descriptor 3; it ends with that.
#
# slirp takes what a guest sends to its gateway, to 127.0.0.0/8, or to everybody, to the host's loopback, and QEMU has no word against that.
# So each frame of the guest is looked at: what would go there is dropped, but for answers to what came by a forward. All that these frames
# can be is IPv4 and ARP, since slirp is told to have no IPv6. What slirp says goes to the guest as it is.
#
# All of it is the first process of its own process namespace and what that started: when this ends, all of it does. It has the host's
# network, as passt has, and of the host's files /usr and what resolv.conf said. Arguments: the processor, uid, whether it binds ports of
# root's, how many trees of the host it sees besides, those, then QEMU and its arguments, where %FD% stands for its end of a socket.
use strict;
use Socket;

my ($arch, $uid, $binds_low, $count, @rest) = @ARGV;
my @trees = splice @rest, 0, $count;
my @qemu = @rest;

# asm/unistd_64.h, asm-generic/unistd.h
my $number = {
    x64 => { mount => 165, umount2 => 166, pivot_root => 155, unshare => 272, prctl => 157, capset => 126, setgroups => 116, setresgid => 119, setresuid => 117 },
    arm64 => { mount => 40, umount2 => 39, pivot_root => 41, unshare => 97, prctl => 167, capset => 91, setgroups => 159, setresgid => 149, setresuid => 147 },
}->{$arch} or fail("the processor $arch is not known here");
# sys/mount.h, linux/sched.h, linux/prctl.h, linux/capability.h
my ($READ_ONLY, $NOSUID, $NODEV, $NOEXEC, $REMOUNT, $BIND, $REC, $PRIVATE, $DETACH) = (1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 2);
my ($NEWNS, $NEWUTS, $NEWIPC, $NEWPID) = (0x20000, 0x4000000, 0x8000000, 0x20000000);
my ($PDEATHSIG, $KEEPCAPS, $CAPBSET_DROP, $NO_NEW_PRIVS, $AMBIENT, $RAISE, $NET_BIND_SERVICE) = (1, 8, 24, 38, 47, 2, 10);
my ($KILL, $SETFD, $SETFL, $NONBLOCK) = (9, 2, 4, 04000);

# net/net.h, NET_BUFSIZE; how much is read at once.
my ($LONGEST_FRAME, $CHUNK) = (4096 + 65536, 1 << 18);
my ($GATEWAY, $EVERYBODY) = (0x0A000202, 0xFFFFFFFF);
my ($ARP, $IPV4, $ICMP, $TCP, $UDP, $BOOTP) = (0x0806, 0x0800, 1, 6, 17, 67);
my $MOST_PEERS = 10_000;
my %peers;    # guest's and host's port of what came by a forward of UDP from the host itself

sub fail { print STDERR "$_[0]\n"; exit 70 }

# A system call that must succeed. Copies its arguments, since perl hands out pointers to them.
sub call {
    my ($name, $what, @arguments) = @_;
    syscall($number->{$name}, @arguments) != -1 or fail("$name $what: $!");
}

open my $guest, '+<&=', 3 or fail("descriptor 3: $!");
call('unshare', '', $NEWNS | $NEWUTS | $NEWIPC | $NEWPID);
pipe my $is_ready, my $ready or fail("pipe: $!");
my $first = fork // fail("fork: $!");
if ($first) {
    close $ready;
    exit 0 if sysread $is_ready, my $word, 1;
    waitpid $first, 0;
    exit 71;
}
close $is_ready;
enter_root();
drop_privileges();
call('prctl', 'end with the caller', $PDEATHSIG, $KILL, 0, 0, 0);


socketpair my $slirp, my $theirs, AF_UNIX, SOCK_STREAM, 0 or fail("socketpair: $!");
$SIG{CHLD} = sub { exit 72 };
my $emulator = fork // fail("fork: $!");
if (!$emulator) {
    $SIG{CHLD} = 'DEFAULT';
    my $fd = fileno $theirs;
    fcntl $theirs, $SETFD, 0;
    close $_ for $guest, $slirp, $ready;
    s/%FD%/$fd/ for @qemu;
    %ENV = ();
    exec { $qemu[0] } @qemu or fail("$qemu[0]: $!");
}
close $theirs;
await_answer();
call('prctl', 'live on', $PDEATHSIG, 0, 0, 0, 0);
syswrite $ready, 'r' or exit 73; # Nobody has waited for it.
close $ready;
open STDERR, '>', '/dev/null' or close STDERR;
carry();

# A root with nothing of the host but its programs and its name servers.
sub enter_root {
    my $resolvers = '';
    if (open my $file, '<', '/etc/resolv.conf') { local $/; $resolvers = <$file> // '' }
    call('mount', 'private', 'none', '/', 0, $REC | $PRIVATE, 0);
    call('mount', 'root', 'kvasir-slirp', '/tmp', 'tmpfs', $NOSUID | $NODEV, 'mode=0755,size=256k');
    chdir '/tmp' or fail("/tmp: $!");
    umask 0022;
    mkdir $_ for qw(etc old);
    open my $copy, '>', 'etc/resolv.conf' or fail("resolv.conf: $!");
    print $copy $resolvers;
    close $copy;
    for my $name (qw(bin sbin lib lib32 lib64 libx32)) {
        if (-l "/$name") { symlink readlink "/$name", $name }
        elsif (-d "/$name") { push @trees, "/$name" }
    }
    for my $tree ('/usr', @trees) {
        my $place = '.';
        for my $part (grep { $_ ne '' } split m{/}, $tree) { $place .= "/$part"; mkdir $place }
        call('mount', $tree, "$tree", $place, 0, $BIND, 0);
        call('mount', "$tree again", 'none', $place, 0, $REMOUNT | $BIND | $READ_ONLY | $NOSUID | $NODEV, 0);
    }
    call('mount', 'root again', 'none', '.', 0, $REMOUNT | $READ_ONLY | $NOSUID | $NODEV | $NOEXEC, 0);
    call('pivot_root', '', '.', 'old');
    call('umount2', 'old', '/old', $DETACH);
    chdir '/' or fail("/: $!");
}

# One user of no name. A port below 1024 takes one capability, and only that.
sub drop_privileges {
    my $kept = $binds_low ? 1 << $NET_BIND_SERVICE : 0;
    for my $capability (0 .. 63) {
        next if $kept >> $capability & 1;
        last if syscall($number->{prctl}, $CAPBSET_DROP, $capability, 0, 0, 0) == -1;
    }
    call('prctl', 'keep', $KEEPCAPS, 1, 0, 0, 0) if $kept;
    call('setgroups', '', 0, 0);
    call('setresgid', $uid, $uid + 0, $uid + 0, $uid + 0);
    call('setresuid', $uid, $uid + 0, $uid + 0, $uid + 0);
    call('capset', '', pack('LL', 0x20080522, 0), pack('L6', $kept, $kept, $kept, 0, 0, 0));
    call('prctl', 'ambient', $AMBIENT, $RAISE, $NET_BIND_SERVICE, 0, 0) if $kept;
    call('prctl', 'no-new-privs', $NO_NEW_PRIVS, 1, 0, 0, 0);
}

# slirp serves when it says whose the gateway is. Asked by nobody, for nobody.
sub await_answer {
    my $asking = "\x52\x55\x0a\0\2\x63";
    my $frame = pack 'a6 a6 n nnCCn a6 N a6 N', "\xff" x 6, $asking, $ARP, 1, $IPV4, 6, 4, 1, $asking, 0, '', $GATEWAY;
    syswrite $slirp, pack('N', length $frame) . $frame;
    my $answer = '';
    while (length $answer < 4 || length $answer < 4 + unpack 'N', $answer) {
        sysread $slirp, $answer, 4 + $LONGEST_FRAME, length $answer or exit 73;
    }
}

# From one to the other, as fast as either takes it, until one of them ends. Nothing more is read of a side than the other has taken.
sub carry {
    my %way = (
        out => { from => $guest, to => $slirp, in => '', out => '', passes => \&may_leave },
        in => { from => $slirp, to => $guest, in => '', out => '', passes => \&note_peer },
    );
    fcntl $_, $SETFL, $NONBLOCK for $guest, $slirp;
    while (1) {
        my ($readable, $writable) = ('', '');
        for (values %way) {
            if ($_->{out} eq '') { vec($readable, fileno $_->{from}, 1) = 1 }
            else { vec($writable, fileno $_->{to}, 1) = 1 }
        }
        select($readable, $writable, undef, undef) > 0 or next;
        for (values %way) {
            if ($_->{out} ne '') { written($_) if vec $writable, fileno $_->{to}, 1 }
            elsif (vec $readable, fileno $_->{from}, 1) { taken($_) }
        }
    }
}

sub written {
    my ($way) = @_;
    my $bytes = syswrite($way->{to}, $way->{out}) // ($!{EAGAIN} || $!{EINTR} ? 0 : exit 0);
    substr $way->{out}, 0, $bytes, '';
}

sub taken {
    my ($way) = @_;
    my $bytes = sysread $way->{from}, $way->{in}, $CHUNK, length $way->{in};
    exit 0 unless $bytes || !defined $bytes && ($!{EAGAIN} || $!{EINTR});
    my ($at, $end, $kept) = (0, length $way->{in}, '');
    while ($end - $at >= 4) {
        my $length = unpack 'N', substr $way->{in}, $at, 4;
        exit 74 if $length > $LONGEST_FRAME;
        last if $end - $at < 4 + $length;
        $kept .= substr $way->{in}, $at, 4 + $length if $way->{passes}->(substr $way->{in}, $at + 4, $length);
        $at += 4 + $length;
    }
    substr $way->{in}, 0, $at, '';
    $way->{out} = $kept;
    written($way) if $kept ne '';
}

# Whether a frame of the guest may go to slirp.
sub may_leave {
    my ($frame) = @_;
    my $type = length $frame >= 34 ? unpack 'x12 n', $frame : return 0;
    return $type == $ARP if $type != $IPV4;
    my ($words, $fragment, $protocol, $to) = unpack 'x14 C x5 n x C x6 N', $frame;
    my $net = $to >> 24;
    return $net != 0 && $net != 127 && $net < 224 if $to != $EVERYBODY && ($to & 0xFFFFFF00) != ($GATEWAY & 0xFFFFFF00);
    return 1 if $to == $GATEWAY + 1;    # of its name server slirp takes port 53 alone (libslirp: src/socket.c, sotranslate_out4)
    return 0 if $to != $GATEWAY && $to != $EVERYBODY || $fragment & 0x3FFF;
    my $header = 14 + 4 * ($words & 15);
    return 0 if $header < 34 || length $frame < $header + 14 && $protocol != $UDP || length $frame < $header + 8;
    return $to == $GATEWAY if $protocol == $ICMP;    # It answers that itself.
    my ($own, $port) = unpack "x$header n2", $frame;
    return $port == $BOOTP || $to == $GATEWAY && exists $peers{"$own $port"} if $protocol == $UDP;
    # Nothing but a SYN alone makes a connection (libslirp: src/tcp_input.c).
    return $to == $GATEWAY && (ord(substr $frame, $header + 13, 1) & 0x12) != 0x02 if $protocol == $TCP;
    return 0;
}

# All that slirp says goes to the guest. Whoever of the host's loopback spoke to it by a forward of UDP may be answered.
sub note_peer {
    my ($frame) = @_;
    return 1 if length $frame < 42;
    my ($type, $words, $protocol, $from) = unpack 'x12 n C x8 C x2 N', $frame;
    return 1 if $type != $IPV4 || $protocol != $UDP || $from != $GATEWAY;
    my ($port, $own) = unpack 'x' . (14 + 4 * ($words & 15)) . ' n2', $frame;
    %peers = () if keys %peers >= $MOST_PEERS;
    $peers{"$own $port"} = 1 if $port != $BOOTP;
    return 1;
}
