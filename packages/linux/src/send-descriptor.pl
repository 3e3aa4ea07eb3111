# Sends what it reads from stdin over the UNIX socket on descriptor 3, and beside its first byte (SCM_RIGHTS, unix(7)) the file on
# descriptor 4, or the one that another process has open (pidfd_getfd(2)): Node has no call for it. Run by send-descriptor.ts.
use strict;

# asm/unistd_64.h, asm-generic/unistd.h
my ($arch, $owner, $theirs) = @ARGV;
my $sendmsg = { x64 => 46, arm64 => 211 }->{$arch} or die "this processor is not known here\n";
my ($pidfd_open, $pidfd_getfd) = (434, 438);    # The same on both.
# sys/socket.h, errno.h
my ($SOL_SOCKET, $SCM_RIGHTS, $NOSIGNAL, $EAGAIN) = (1, 1, 0x4000, 11);
my $patience = 3;    # seconds

my $file = 4;
if (defined $owner) {
    my $process = syscall($pidfd_open, $owner + 0, 0);
    $process != -1 or die "pidfd_open: $!\n";
    $file = syscall($pidfd_getfd, $process, $theirs + 0, 0);
    $file != -1 or die "pidfd_getfd: $!\n";
}

local $/;
my $text = <STDIN>;
# struct cmsghdr with one descriptor, padded to whole words; struct msghdr (LP64).
my $control = pack('Q i i i x4', 20, $SOL_SOCKET, $SCM_RIGHTS, $file);
my $given_up = time + $patience;
while (length $text) {
    my $vector = pack('P Q', $text, length $text);
    my $beside = length $control ? pack('P Q', $control, length $control) : pack('Q Q', 0, 0);
    my $header = pack('Q L x4 P Q', 0, 0, $vector, 1) . $beside . pack('i x4', 0);
    my $sent = syscall($sendmsg, 3, $header, $NOSIGNAL);
    if ($sent == -1) {
        $! == $EAGAIN and time < $given_up or die "sendmsg: $!\n";
        select undef, undef, undef, 0.01;
        next;
    }
    $control = '';
    substr $text, 0, $sent, '';
}
