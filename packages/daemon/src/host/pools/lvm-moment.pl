# Takes snapshots of thin volumes at one moment: makes room for them under their numbers, says so, waits for the word, suspends all
# origins, has the thin pool make the snapshots, and lets the origins go on.
#
#     lvm-moment.pl ORIGIN NUMBER [ORIGIN NUMBER ...]
#
# ORIGIN is a device with one target `thin`; what the pool has under NUMBER, an empty volume of LVM that nobody opened, is deleted first.
# Answers are lines: `ready`, `taken`, or `error NUMBER WORDS`. The messages and their order are those of the kernel's
# Documentation/admin-guide/device-mapper/thin-provisioning.rst. Ends with its input, but not between suspending and going on.
use strict;

# linux/dm-ioctl.h: struct dm_ioctl and its commands, _IOWR(0xfd, N, struct dm_ioctl)
my $HEAD = 312;
my $ROOM = 16384;
my ($DEV_SUSPEND, $TABLE_STATUS, $TARGET_MSG) = (6, 12, 14);
my ($SUSPEND_FLAG, $STATUS_TABLE_FLAG) = (2, 16);

$SIG{$_} = 'IGNORE' for qw(HUP INT TERM PIPE);
$| = 1;
open my $control, '+<', '/dev/mapper/control' or quit("/dev/mapper/control: $!");

sub quit {
    my ($words) = @_;
    $words =~ s/\s+/ /g;
    print 'error ', $! + 0, " $words\n";
    exit 1;
}

# Does one command about a device; answers what came back after the head.
sub mapper {
    my ($command, $device, $flags, $message) = @_;
    my $data = defined $message ? pack('Qa*x', 0, $message) : '';    # struct dm_target_msg
    my $head = pack 'L3LLLlLLLQ', 4, 0, 0, $ROOM, $HEAD, length $data ? 1 : 0, 0, $flags, 0, 0, $device;
    my $buffer = $head . "\0" x ($HEAD - length $head) . $data;
    $buffer .= "\0" x ($ROOM - length $buffer);
    ioctl $control, 3 << 30 | $HEAD << 16 | 0xfd << 8 | $command, $buffer or return;
    return substr $buffer, unpack('x16L', $buffer);
}

my @pairs;
while (my ($path, $number) = splice @ARGV, 0, 2) {
    my $device = (stat $path)[6] or quit("$path: $!");
    my $table = mapper($TABLE_STATUS, $device, $STATUS_TABLE_FLAG) // quit("$path: $!");
    my ($type, $words) = unpack 'x24Z16Z*', $table;                  # struct dm_target_spec
    $type eq 'thin' && $words =~ /^(\d+):(\d+) (\d+)/ or quit("$path is no thin volume by itself ($type)");
    my $pool = ($2 & 0xff) | $1 << 8 | ($2 & ~0xff) << 12;            # huge_encode_dev() of the kernel
    push @pairs, { path => $path, device => $device, pool => $pool, id => $3, number => $number };
}
for (@pairs) {
    mapper($TARGET_MSG, $_->{pool}, 0, "delete $_->{number}") // quit("delete $_->{number}: $!");
}
print "ready\n";
defined <STDIN> or exit;

my $trouble;
my @suspended;
for (@pairs) {
    defined mapper($DEV_SUSPEND, $_->{device}, $SUSPEND_FLAG) or $trouble = [$! + 0, "suspend $_->{path}: $!"] and last;
    push @suspended, $_;
}
for (@pairs) {
    last if $trouble;
    defined mapper($TARGET_MSG, $_->{pool}, 0, "create_snap $_->{number} $_->{id}")
        or $trouble = [$! + 0, "create_snap $_->{number} $_->{id}: $!"];
}
for (@suspended) {
    defined mapper($DEV_SUSPEND, $_->{device}, 0) or $trouble //= [$! + 0, "resume $_->{path}: $!"];
}
quit_with(@$trouble) if $trouble;
print "taken\n";

sub quit_with {
    my ($number, $words) = @_;
    print "error $number $words\n";
    exit 1;
}
