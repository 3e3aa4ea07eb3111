# The hands of a folder pool: does to the files of one folder what it is told, so that a file system that hangs takes this process
# with it and nobody else. Run by pool-hands.ts as root.
#
# Every file is opened relative to the folder, never through a link and never out of it (openat2(2), Linux 5.6). The folder is opened
# anew for each order, by its path, and must bear the pool's mark: a file system that is not mounted is noticed, and not written
# beneath. Orders and answers are frames: the length as 4 bytes, then words divided by NUL. Ends when its stdin does, and with its parent.
use strict;

my ($arch, $parent, $root, $mark) = @ARGV;

# asm/unistd_64.h and asm/fcntl.h of x86; asm-generic/unistd.h and asm/fcntl.h of arm64
my $known = {
    x64 => {
        openat2 => 437, fsync => 74, unlinkat => 263, renameat2 => 316, fstatfs => 138, fallocate => 285, prctl => 157, statx => 332, linkat => 265,
        DIRECTORY => 0200000, NOFOLLOW => 0400000, DIRECT => 040000,
    },
    arm64 => {
        openat2 => 437, fsync => 82, unlinkat => 35, renameat2 => 276, fstatfs => 44, fallocate => 47, prctl => 167, statx => 291, linkat => 37,
        DIRECTORY => 040000, NOFOLLOW => 0100000, DIRECT => 0200000,
    },
}->{$arch} or die "the processor $arch is not known here\n";

# asm-generic/fcntl.h, linux/fcntl.h, linux/openat2.h
my ($RDONLY, $WRONLY, $RDWR, $CREAT, $EXCL, $TRUNC) = (0, 1, 2, 0100, 0200, 01000);
my ($NONBLOCK, $CLOEXEC, $PATH, $AT_FDCWD) = (04000, 02000000, 010000000, -100);
my ($NO_MAGICLINKS, $NO_SYMLINKS, $BENEATH) = (2, 4, 8);
my ($ENOENT, $EEXIST, $EINVAL, $ENOSPC) = (2, 17, 22, 28);
my $MARK = '.kvasir-pool';
my $TRIAL = '.kvasir-direct-io';

syscall($known->{prctl}, 1, 9, 0, 0, 0);    # PR_SET_PDEATHSIG, SIGKILL
getppid() == $parent or exit 0;
binmode $_ for *STDIN, *STDOUT;
umask 0077;

sub receive {
    my ($bytes) = @_;
    my $text = '';
    while (length $text < $bytes) {
        sysread STDIN, $text, $bytes - length $text, length $text or exit 0;
    }
    return $text;
}

sub answer {
    my $text = join "\0", @_;
    my $frame = pack('N', length $text) . $text;
    while (length $frame) {
        my $sent = syswrite STDOUT, $frame or exit 0;
        substr $frame, 0, $sent, '';
    }
}

# What an order ends with when it cannot be carried out: a kind, and what there is to say of it.
sub refuse { die [@_] }
sub failed { refuse('errno', $! + 0, "$_[0]: $!") }

# Perl hands out pointers to strings, so that each is copied first.
sub system_call {
    my ($name, @arguments) = @_;
    return syscall($known->{$name}, @arguments);
}

# The same, where the kernel writes into the last argument.
sub system_call_into {
    my $name = shift;
    return syscall($known->{$name}, @_);
}

# A handle on a file below a directory; closed when it is let go of.
sub opened {
    my ($directory, $name, $flags, $resolve) = @_;
    my $path = "$name";
    my $how = pack('Q3', $flags | $CLOEXEC, $flags & $CREAT ? 0600 : 0, $resolve);
    my $fd = system_call('openat2', $directory, $path, $how, length $how);
    $fd == -1 and return undef;
    my $handle;
    open $handle, ($flags & 3) == $RDONLY ? '<&=' : ($flags & 3) == $WRONLY ? '>&=' : '+<&=', $fd or failed($name);
    binmode $handle;
    return $handle;
}

my $folder;

sub beneath {
    my ($name, $flags) = @_;
    my $always = $flags & $PATH ? $known->{NOFOLLOW} : $known->{NOFOLLOW} | $NONBLOCK;
    return opened(fileno $folder, $name, $flags | $always, $BENEATH | $NO_SYMLINKS);
}

sub must { my ($name, $flags) = @_; return beneath($name, $flags) || failed($name) }

sub open_folder {
    $folder = opened($AT_FDCWD, $root, $RDONLY | $known->{DIRECTORY}, $NO_SYMLINKS | $NO_MAGICLINKS);
    return $folder;
}

sub mark_found {
    my $handle = beneath($MARK, $RDONLY) or return $! == $ENOENT ? '' : failed($MARK);
    sysread $handle, my $text, 256;
    return $text =~ /([^\n]*)/ ? $1 : '';
}

sub sync_handle { system_call('fsync', fileno $_[0]) == 0 or failed('fsync') }

sub remove_name {
    my ($name) = @_;
    my $path = "$name";
    system_call('unlinkat', fileno $folder, $path, 0) == 0 or $! == $ENOENT or failed($name);
}

sub kind_of {
    my ($mode) = @_;
    my $type = $mode & 0170000;
    return 'device' if $type == 0060000;
    return $type == 0100000 ? 'file' : $type == 0040000 ? 'directory' : $type == 0120000 ? 'link' : 'other';
}

# The kernel's NFS client reads and writes as who opened a file, but makes holes and takes space as who asks for it (Linux 6.12,
# fs/nfs/nfs42proc.c: _nfs42_proc_fallocate names no credential): a guest's discard would be refused by the server.
sub own_on_nfs {
    my ($handle, $name, $user) = @_;
    my $found = "\0" x 256;
    syscall($known->{fstatfs}, fileno $handle, $found) == 0 or failed('statfs');
    return if unpack('q', $found) != 0x6969 || (stat $handle)[4] == $user;    # NFS_SUPER_MAGIC, linux/magic.h
    chown $user, -1, $handle or failed("chown $name");
}

my %kept;    # what `open` has opened, by its number

my %orders = (
    space => sub {
        my $room = "\0" x 256;
        syscall($known->{fstatfs}, fileno $folder, $room) == 0 or failed('statfs');
        my ($kind, $size, $blocks, $free, $available) = (unpack 'q10', $room)[0, 9, 2, 3, 4];
        $size ||= (unpack 'q2', $room)[1];
        return ((map { sprintf '%.0f', $_ * $size } $blocks, $free, $available), $kind);
    },
    list => sub {
        my $place = '/proc/self/fd/' . fileno $folder;
        opendir my $directory, $place or failed('readdir');
        my @found;
        while (defined(my $name = readdir $directory)) {
            next if $name eq '.' || $name eq '..' || $name eq $MARK || $name eq $TRIAL;
            my @stat = lstat "$place/$name" or next;
            push @found, $name, kind_of($stat[2]), $stat[7], $stat[3];    # the last: how many names it has
            @found > 400_000 and refuse('errno', 7, 'there are more than 100000 files');
        }
        return @found;
    },
    stat => sub {
        my ($name) = @_;
        my @stat = stat must($name, $PATH);
        return kind_of($stat[2]), $stat[7], $stat[12], ($stat[0] >> 8) & 0xfff, $stat[0] & 0xff | ($stat[0] >> 12) & 0xfff00, $stat[1];
    },
    written => sub {
        my ($name) = @_;
        my $handle = must($name, $PATH);
        my ($empty, $found) = ('', "\0" x 256);
        # AT_EMPTY_PATH; STATX_SIZE | STATX_MTIME (linux/stat.h)
        system_call_into('statx', fileno $handle, $empty, 0x1000, 0x240, $found) == 0 or failed($name);
        my ($seconds, $nanoseconds) = unpack 'qL', substr $found, 112, 12;
        return unpack('Q', substr $found, 40, 8), $seconds, $nanoseconds;
    },
    create => sub { must($_[0], $WRONLY | $CREAT | $EXCL); return },
    sync => sub { sync_handle(must($_[0], $RDONLY)); sync_handle($folder); return },
    remove => sub { remove_name($_) for @_; sync_handle($folder); return },
    rename => sub {
        my ($from, $to) = map { "$_" } @_;
        my $at = fileno $folder;
        if (system_call('renameat2', $at, $from, $at, $to, 1) != 0) {    # RENAME_NOREPLACE
            $! == $EINVAL or failed("$from to $to");
            # NFS knows no flags of a rename. A second name is not given where there is one either.
            system_call('linkat', $at, $from, $at, $to, 0) == 0 or failed("$from to $to");
            remove_name($from);
        }
        sync_handle($folder);
        return;
    },
    read => sub {
        my ($name, $offset, $length) = @_;
        my $handle = must($name, $RDONLY);
        sysseek $handle, $offset, 0;
        defined sysread $handle, my $text, $length or failed($name);
        return $text;
    },
    beginning => sub {
        my ($name, $length) = @_;
        my $handle = must($name, $RDONLY);
        defined sysread $handle, my $text, $length or failed($name);
        my $size = sysseek $handle, 0, 2 or failed($name);    # After the read: what moves is there before a header names it.
        return $size + 0, $text;
    },
    lay => sub {
        my ($name, $size, %parts) = @_;    # hexadecimal bytes by their offset
        my $handle = must($name, $WRONLY);
        truncate $handle, $size or failed($name);
        for my $offset (sort { $a <=> $b } keys %parts) {
            my $bytes = pack 'H*', $parts{$offset};
            sysseek $handle, $offset, 0 or failed($name);
            (syswrite($handle, $bytes) // failed($name)) == length $bytes or refuse('errno', $ENOSPC, "$name: only a part was written");
        }
        return;
    },
    truncate => sub {
        my ($name, $size) = @_;
        truncate must($name, $WRONLY), $size or failed($name);
        return;
    },
    allocate => sub {
        my ($name, $size) = @_;
        system_call('fallocate', fileno must($name, $WRONLY), 0, 0, $size + 0) == 0 or failed($name);
        return;
    },
    permit => sub {
        my ($name, $gid, $mode, $unless) = @_;
        my $handle = must($name, $RDONLY);
        my @stat = stat $handle;
        kind_of($stat[2]) eq 'file' or refuse('errno', $EINVAL, "$name is not a regular file");
        return if $stat[2] & $unless;
        chown 0, $gid, $handle or failed($name);
        chmod $mode, $handle or failed($name);
        return;
    },
    owner => sub {
        my @stat = stat must($_[0], $PATH);
        return $stat[4], $stat[5], $stat[2] & 07777;
    },
    restore => sub {
        my ($name, $uid, $gid, $mode) = @_;    # as owner answered them
        my $handle = must($name, $RDONLY);
        chown $uid, $gid, $handle or failed($name);
        chmod $mode, $handle or failed($name);
        return;
    },
    direct => sub {
        remove_name($TRIAL);
        my $handle = beneath($TRIAL, $RDWR | $CREAT | $EXCL | $known->{DIRECT});
        my $refused = !$handle && $! == $EINVAL;    # Anything else says that it could not be tried; most disks take it.
        remove_name($TRIAL);
        return $refused ? 0 : 1;
    },
    open => sub {
        my ($name, $access, $direct, $kind, $user) = @_;
        my $handle = must($name, ($access eq 'read' ? $RDONLY : $RDWR) | ($direct ? $known->{DIRECT} : 0));
        kind_of((stat $handle)[2]) eq $kind or refuse('errno', $EINVAL, "$name is not a $kind");
        own_on_nfs($handle, $name, $user) if $user && $access ne 'read' && $kind eq 'file';
        $kept{fileno $handle} = $handle;
        return fileno $handle;
    },
    close => sub { delete $kept{$_[0]}; return },
    claim => sub {
        my ($force) = @_;
        my $made = 0;
        if (!open_folder()) {
            $! == $ENOENT or failed($root);
            mkdir $root, 0700 or failed($root);
            $made = 1;
            open_folder() or failed($root);
        }
        my @stat = stat $folder;
        refuse('owner', $stat[4], sprintf '%o', $stat[2] & 07777) if $stat[4] != $> || $stat[2] & 022;
        my $found = mark_found();
        refuse('marked', $found) if $found ne '' && $found ne $mark && !$force;
        my $handle = must($MARK, $WRONLY | $CREAT | $TRUNC);
        syswrite $handle, "$mark\nThis folder is a storage pool of Kvasir.\n" or failed($MARK);
        sync_handle($handle);
        sync_handle($folder);
        return $made;
    },
    release => sub {
        my ($with_folder) = @_;
        if (!open_folder()) { return if $! == $ENOENT; failed($root) }
        return if mark_found() ne $mark;    # It is somebody else's by now.
        remove_name($MARK);
        sync_handle($folder);
        undef $folder;
        rmdir $root if $with_folder;    # Only when nothing is left in it.
        return;
    },
);

while (1) {
    my ($order, @words) = split /\0/, receive(unpack 'N', receive(4)), -1;
    my @result = eval {
        my $carry_out = $orders{$order} or refuse('errno', $EINVAL, "there is no order $order");
        if ($order ne 'claim' && $order ne 'release' && $order ne 'close') {
            open_folder() or refuse('folder', $! + 0, "$root: $!");
            if ($mark ne '') {
                my $found = mark_found();
                refuse('mark', $found) if $found ne $mark;
            }
        }
        ('ok', $carry_out->(@words));
    };
    my $error = $@;
    undef $folder;
    answer($error eq '' ? @result : ref $error ? @$error : ('errno', $EINVAL, $error));
}
