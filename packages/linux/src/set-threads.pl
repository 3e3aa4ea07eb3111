# Sets affinity and scheduling of threads: Node has no call for either. Run by thread-settings.ts. Each line of stdin is one thread:
# its id, the bytes of its CPU mask in hexadecimal or -, the number of its policy or -, its priority. Each line of stdout is what was
# refused: the id, `affinity` or `policy`, the number of the error. A thread that has ended is no refusal.
use strict;

# asm/unistd_64.h, asm-generic/unistd.h
my %numbers = (
    x64 => { sched_setscheduler => 144, sched_setaffinity => 203 },
    arm64 => { sched_setscheduler => 119, sched_setaffinity => 122 },
);
my $number = $numbers{ shift @ARGV } or exit 70;
my $ESRCH = 3;

sub call {
    my ($thread, $what, $name, @arguments) = @_;
    return if syscall($number->{$name}, $thread, @arguments) != -1 or $! == $ESRCH;
    printf "%d %s %d\n", $thread, $what, $!;
}

while (<STDIN>) {
    my ($thread, $mask, $policy, $priority) = split;
    $thread += 0;
    if ($mask ne '-') {
        my $bytes = pack 'H*', $mask;
        call($thread, 'affinity', 'sched_setaffinity', length $bytes, $bytes);
    }
    call($thread, 'policy', 'sched_setscheduler', $policy + 0, pack('i', $priority)) if $policy ne '-';
}
