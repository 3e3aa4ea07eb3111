# Makes for each share of a VM a UNIX socket that listens and one that is connected to it, and holds both until whoever starts the VM has
# taken them (pidfd_getfd(2)). Nobody accepts here: that is for the process that serves the share, and Node would. Words: a folder that
# only root can enter, and how many shares. Answer: a line with the numbers of all descriptors, in pairs; else one sentence.
use strict;
use warnings;
use Socket;

$| = 1;
$^F = 1024;    # Descriptors stay open, whatever is executed; nothing is.
my ($folder, $shares) = @ARGV;
my @held;

sub refuse { print "refused: $_[0]\n"; exit 1 }

chdir $folder or refuse("$folder cannot be entered ($!)");
umask 0177;
for my $share (1 .. $shares) {
    my $name = ".share-$$-$share";
    socket(my $listening, AF_UNIX, SOCK_STREAM, 0) or refuse("no socket ($!)");
    bind($listening, pack_sockaddr_un($name)) or refuse("no socket is made in $folder ($!)");
    listen($listening, 1) or refuse("the socket does not listen ($!)");
    socket(my $connected, AF_UNIX, SOCK_STREAM, 0) or refuse("no socket ($!)");
    my $is_connected = connect($connected, pack_sockaddr_un($name));
    my $why = $!;
    unlink $name;
    $is_connected or refuse("the socket is not connected ($why)");
    push @held, $listening, $connected;
}
print join(' ', map { fileno $_ } @held), "\n";
<STDIN>;    # Until whoever asked has what it wants, or has ended.
