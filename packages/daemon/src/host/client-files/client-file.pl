# Moves bytes between a file that a client has open and a volume, so that they pass through neither the client nor the daemon: one that an NBD
# server has open (docs/proto.md of NBD), or the file that a raw one is. Run by client-files.ts as root.
#
# Descriptor 3 is the client's connection to the daemon. The kernel says who made it (SO_PEERCRED, unix(7)), and out of that process alone
# a descriptor is taken (pidfd_getfd(2), Linux 5.6), with the access that it was opened with. It has to be the regular file that was
# claimed: a relay that stands between has another file by that number, or none. Orders and answers are lines. Ends when its stdin does, and with its parent.
use strict;

my ($arch, $parent, $number, $claimed, $access) = @ARGV;
# asm/unistd_64.h of x86; asm-generic/unistd.h of arm64
my $known = { x64 => { prctl => 157, copy_file_range => 326 }, arm64 => { prctl => 167, copy_file_range => 285 } }->{$arch}
    or die "the processor $arch is not known here\n";
my ($PIDFD_OPEN, $PIDFD_GETFD) = (434, 438);    # asm-generic/unistd.h, the same everywhere
my ($SEEK_SET, $SEEK_DATA, $SEEK_HOLE) = (0, 3, 4);
my ($ENXIO, $ENOSPC) = (6, 28);
my $STEP = 1 << 20;
my $AT_ONCE = 4;

syscall($known->{prctl}, 1, 9, 0, 0, 0);    # PR_SET_PDEATHSIG, SIGKILL
getppid() == $parent or exit 0;
$| = 1;
$SIG{PIPE} = 'IGNORE';

sub refuse { print "no @_\n"; exit 0 }

my $file;

sub take {
    open my $connection, '+<&=', 3 or refuse("the connection: $!");
    my ($pid) = unpack 'l', getsockopt($connection, 1, 17) || refuse('it does not come over a socket of this host');
    $pid > 0 or refuse('who asks is in another container');
    my $process = syscall($PIDFD_OPEN, $pid, 0);
    $process >= 0 or refuse("pidfd_open: $!");
    my $descriptor = syscall($PIDFD_GETFD, $process, $number + 0, 0);
    $descriptor >= 0 or refuse("pidfd_getfd: $!");
    open $file, $access eq 'read' ? '<&=' : '+<&=', $descriptor or refuse("the file: $!");
    binmode $file;
    my @stat = stat $file;
    -f _ && "$stat[0]:$stat[1]" eq $claimed or refuse('that descriptor is another file, or none');
    print "file $stat[7]\n";
}

my $volume;

sub receive {
    my ($bytes) = @_;
    my $text = '';
    while (length $text < $bytes) {
        sysread $volume, $text, $bytes - length $text, length $text or die "volume 5 the connection to it ended\n";
    }
    return $text;
}

sub send_all {
    for my $text (@_) {
        for (my $sent = 0; $sent < length $text;) {
            $sent += syswrite($volume, $text, length($text) - $sent, $sent) || die "volume 5 the connection to it ended\n";
        }
    }
}

sub greet {
    my ($path) = @_;
    socket($volume, 1, 1, 0) && connect($volume, pack 'S a108', 1, $path) or die "volume 5 it was not connected to: $!\n";
    binmode $volume;
    receive(18) =~ /^NBDMAGICIHAVEOPT/ or die "volume 5 it speaks another protocol\n";
    send_all(pack 'N a8 N N N n', 3, 'IHAVEOPT', 7, 6, 0, 0);    # NBD_OPT_GO for the export without a name
    while (1) {
        my ($magic, $option, $type, $length) = unpack 'Q> N N N', receive(20);
        $length < 65536 or die "volume 5 it speaks another protocol\n";
        receive($length);
        return if $type == 1;                                        # NBD_REP_ACK
        die "volume 5 it was refused\n" if $type & 0x80000000;
    }
}

sub request { my ($type, $at, $length) = @_; send_all(pack 'N n n Q> Q> N', 0x25609513, 0, $type, $at, $at, $length) }

# Where a request began that is answered now.
sub answered {
    my ($magic, $errno, $at) = unpack 'N N Q>', receive(16);
    $magic == 0x67446698 or die "volume 5 it speaks another protocol\n";
    $errno == 0 or die "volume $errno it failed\n";
    return $at;
}

sub each_step {
    my ($from, $length, $begin, $end) = @_;
    my %under_way;
    my $finish = sub { my $at = answered(); my $bytes = delete $under_way{$at} or die "volume 5 it speaks another protocol\n"; $end->($at, $bytes) };
    for (my $at = $from; $at < $from + $length; $at += $STEP) {
        my $bytes = $from + $length - $at < $STEP ? $from + $length - $at : $STEP;
        $under_way{$at} = $bytes;
        $begin->($at, $bytes);
        $finish->() if keys %under_way >= $AT_ONCE;
    }
    $finish->() while %under_way;
}

my $direct;

sub open_direct {
    my ($path) = @_;
    sysopen $direct, $path, ($access eq 'read' ? 1 : 0) | 02000000 or die 'volume ', $! + 0, " open: $!\n";    # O_WRONLY, O_CLOEXEC
    binmode $direct;
    -f $direct or die "volume 22 it is no regular file\n";
}

# Between files at the same place. The kernel copies by itself, or shares what both hold, where it can (copy_file_range(2)).
sub copy {
    my ($from, $to, $at, $length) = @_;
    my $end = $at + $length;
    while ($at < $end) {
        my ($in, $out) = (pack('q', $at), pack('q', $at));
        my $count = syscall($known->{copy_file_range}, fileno $from, $in, fileno $to, $out, $end - $at, 0);
        $count = read_and_write($from, $to, $at, $end - $at) if $count <= 0;
        $at += $count;
    }
}

sub read_and_write {
    my ($from, $to, $at, $length) = @_;
    my ($read_side, $write_side) = $access eq 'read' ? ('file', 'volume') : ('volume', 'file');
    sysseek $_, $at, $SEEK_SET for $from, $to;
    my $read = sysread $from, my $text, $length < $STEP ? $length : $STEP;
    defined $read or die "$read_side ", $! + 0, " read: $!\n";
    $read or die "$read_side 5 it is shorter than it was\n";
    for (my $written = 0; $written < $read;) {
        my $count = syswrite $to, $text, $read - $written, $written;
        defined $count or die "$write_side ", $! + 0, " write: $!\n";
        $count or die "$write_side $ENOSPC write: nothing more goes in\n";
        $written += $count;
    }
    return $read;
}

sub get_part {
    my ($from, $length) = @_;
    if ($direct) { copy($direct, $file, $from, $length); return }
    each_step(
        $from, $length,
        sub { request(0, @_) },
        sub {
            my ($at, $bytes) = @_;
            my $text = receive($bytes);
            sysseek $file, $at, $SEEK_SET;
            for (my $written = 0; $written < $bytes;) {
                my $count = syswrite $file, $text, $bytes - $written, $written;
                defined $count or die 'file ', $! + 0, " write: $!\n";
                $count or die "file $ENOSPC write: nothing more goes in\n";
                $written += $count;
            }
        },
    );
}

my %orders = (
    volume => sub { my ($kind, @path) = @_; $kind eq 'nbd' ? greet("@path") : open_direct("@path"); return '' },
    next => sub {
        my ($from, $end) = @_;
        my $data = sysseek $file, $from, $SEEK_DATA;
        if (!defined $data) { $! == $ENXIO or die 'file ', $! + 0, " lseek: $!\n"; return "hole $end" }
        return $data < $end ? "hole $data" : "hole $end" if $data > $from;
        my $hole = sysseek($file, $from, $SEEK_HOLE) // die 'file ', $! + 0, " lseek: $!\n";
        return $hole < $end ? "data $hole" : "data $end";
    },
    put => sub {
        my ($from, $length) = @_;
        if ($direct) { copy($file, $direct, $from, $length); return '' }
        sysseek $file, $from, $SEEK_SET;
        each_step(
            $from, $length,
            sub {
                my ($at, $bytes) = @_;
                my $text = '';
                while (length $text < $bytes) {
                    my $read = sysread $file, $text, $bytes - length $text, length $text;
                    defined $read or die 'file ', $! + 0, " read: $!\n";
                    $read or die "file 5 it is shorter than it was\n";
                }
                request(1, $at, $bytes);
                send_all($text);
            },
            sub { },
        );
        return '';
    },
    get => sub {
        while (my ($from, $length) = splice @_, 0, 2) { get_part($from, $length) }
        return '';
    },
    size => sub { truncate $file, $_[0] or die 'file ', $! + 0, " truncate: $!\n"; return '' },
);

take();
while (defined(my $line = <STDIN>)) {
    chomp $line;
    my ($order, @words) = split / /, $line;
    my $result = eval { $orders{$order}->(@words) };
    print $@ eq '' ? "ok $result\n" : "failed $@";
}
