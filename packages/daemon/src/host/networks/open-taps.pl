# Opens the taps of a VM's NICs, puts each on its bridge, and holds them until whoever starts the emulator has taken them (pidfd_getfd(2)).
# A tap lives as long as somebody has it open: it ends with the emulator, or with this process where there is none. A macvtap is there already,
# and is only opened. Words: the architecture; then six for each tap: its name, its bridge (of a macvtap nothing), the MTU of its network, its own, its queues, and what bridge(8) is told of its VLANs, if anything. Answer: a line with the numbers of all descriptors, in order; else one sentence.
# Facts: linux/if_tun.h, linux/if.h, linux/sockios.h; drivers/net/tap.c.
use strict;
use warnings;
use Socket;

my ($TUNSETIFF, $SIOCGIFINDEX, $SIOCBRADDIF) = (0x400454ca, 0x8933, 0x89a2);
my $SIOCGIFMTU = 0x8921;
my ($SIOCSIFMTU, $SIOCGIFFLAGS, $SIOCSIFFLAGS) = (0x8922, 0x8913, 0x8914);
my ($TAP, $NO_PI, $VNET_HDR, $MULTI_QUEUE, $EXCLUSIVE, $UP) = (2, 0x1000, 0x4000, 0x100, 0x8000, 1);

$| = 1;
$^F = 1024;    # Descriptors stay open, whatever is executed; nothing is.
my (@held, $control);

sub refuse { print "refused: $_[0]\n"; exit 1 }

my $architecture = shift @ARGV;
my %numbers = (
    x64 => { unshare => 272, mount => 165, mknodat => 259 },
    arm64 => { unshare => 97, mount => 40, mknodat => 33 },
);
my ($NEWNS, $PRIVATE, $CHARACTERS) = (0x00020000, 0x44000, 0020600);
my $node;

# A mount namespace with the /sys of this network namespace, and a place for a node: the host's own /sys may be of another one, in which a
# link of the same number has taken the name /dev/tapN.
sub enter_own_mounts {
    my $number = $numbers{$architecture} or refuse("the processor $architecture is not known here");
    syscall($number->{unshare}, $NEWNS) == 0 or refuse("no mounts of its own ($!)");
    my @mounts = (['none', '/', 0, $PRIVATE], ['sysfs', '/sys', 'sysfs', 0], ['tmpfs', '/tmp', 'tmpfs', 0]);
    for (@mounts) {
        my ($source, $target, $type, $flags) = @$_;
        syscall($number->{mount}, $source, $target, $type, $flags, 0) == 0 or refuse("$target cannot be mounted ($!)");
    }
    $node = $number->{mknodat};
}

sub open_macvtap {
    my ($name, $queues) = @_;
    enter_own_mounts() if !$node;
    my ($file) = glob("/sys/class/net/$name/macvtap/tap*/dev");
    open(my $device, '<', $file // '') or refuse("the macvtap $name is gone");
    my ($major, $minor) = <$device> =~ /^(\d+):(\d+)$/ or refuse("the macvtap $name has no number");
    my $path = "/tmp/$name";
    my $packed = ($minor & 0xff) | ($major << 8) | (($minor & ~0xff) << 12);
    syscall($node, -100, $path, $CHARACTERS, $packed) == 0 or refuse("the macvtap $name has no node ($!)");
    for (1 .. $queues) {
        open(my $tap, '+<', $path) or refuse("the macvtap $name cannot be opened ($!)");
        my $flags = $TAP | $NO_PI | $VNET_HDR | ($queues > 1 ? $MULTI_QUEUE : 0);
        ioctl($tap, $TUNSETIFF, pack('Z16 S x22', $name, $flags)) or refuse("the macvtap $name has no queues ($!)");
        push @held, $tap;
    }
}

# A bridge whose MTU was set keeps it, whatever its ports have; setting it to what it is changes nothing, so it is another for a moment.
sub keep_mtu {
    my ($bridge, $mtu) = @_;
    for ($mtu + 1, $mtu) {
        ioctl($control, $SIOCSIFMTU, pack('Z16 i x20', $bridge, $_)) or refuse("the bridge $bridge takes no MTU of $_ ($!)");
    }
}

socket($control, AF_INET, SOCK_DGRAM, 0) or refuse("no socket ($!)");
while (my ($name, $bridge, $most, $mtu, $queues, $vlans) = splice @ARGV, 0, 6) {
    if ($bridge eq '') {
        open_macvtap($name, $queues);
        next;
    }
    for my $queue (1 .. $queues) {
        open(my $tap, '+<', '/dev/net/tun') or refuse("/dev/net/tun cannot be opened ($!)");
        my $flags = $TAP | $NO_PI | $VNET_HDR;
        $flags |= $MULTI_QUEUE if $queues > 1;
        $flags |= $EXCLUSIVE if $queue == 1;    # A link of that name is somebody else's.
        ioctl($tap, $TUNSETIFF, pack('Z16 S x22', $name, $flags)) or refuse("the tap $name cannot be made ($!)");
        push @held, $tap;
    }
    if (open(my $setting, '>', "/proc/sys/net/ipv6/conf/$name/disable_ipv6")) {
        print $setting "1";    # The host has no address on a guest's cable.
        close $setting;
    }
    my $is = pack('Z16 x24', $bridge);
    ioctl($control, $SIOCGIFMTU, $is) or refuse("the bridge $bridge is gone ($!)");
    my (undef, $largest) = unpack('Z16 i', $is);
    # A port with a smaller one would change that of all its others (br_mtu_auto_adjust of the kernel's net/bridge).
    refuse("the bridge $bridge has an MTU of $largest now, and its network one of $most") if $largest > $most;
    $mtu = $largest if $mtu > $largest;    # It is less than when the network was made.
    keep_mtu($bridge, $largest) if $mtu < $largest;
    ioctl($control, $SIOCSIFMTU, pack('Z16 i x20', $name, $mtu)) or refuse("the tap $name takes no MTU of $mtu ($!)");
    my $request = pack('Z16 x24', $name);
    ioctl($control, $SIOCGIFINDEX, $request) or refuse("the tap $name is gone ($!)");
    my (undef, $index) = unpack('Z16 i', $request);
    ioctl($control, $SIOCBRADDIF, pack('Z16 i x20', $bridge, $index))
        or refuse("the tap $name cannot be put on the bridge $bridge ($!)");
    if ($vlans ne '') {    # Before it is up, so that no frame of another VLAN waits for the guest.
        open(my $said, '|-', 'bridge -batch - >/dev/null 2>&1') or refuse("bridge(8) cannot be run ($!)");
        print $said $vlans;
        close($said) or refuse("the tap $name has not its VLANs");
    }
    $request = pack('Z16 x24', $name);
    ioctl($control, $SIOCGIFFLAGS, $request) or refuse("the tap $name is gone ($!)");
    my (undef, $now) = unpack('Z16 s', $request);
    ioctl($control, $SIOCSIFFLAGS, pack('Z16 s x22', $name, $now | $UP)) or refuse("the tap $name cannot be brought up ($!)");
}
print join(' ', map { fileno $_ } @held), "\n";
<STDIN>;    # Until whoever asked has what it wants, or has ended.
