#!/bin/sh
# Ends throwaway hosts and removes what they are made of. Written in shell because it is also what still runs when the
# test process has been killed.
#
#   sweep.sh kill DIRECTORY      kills the processes of the host that lives in it, target/hosts/PID/NUMBER
#   sweep.sh host DIRECTORY      does that and removes the host
#   sweep.sh process DIRECTORY   ends everything that a test process had, target/hosts/PID
#   sweep.sh janitor DIRECTORY   the same, once standard input ends, which is when the test process has ended
set -u

empty_within() {
    tries=$1
    while grep -q 'populated 1' "$2/cgroup.events" 2>/dev/null && [ "$tries" -gt 0 ]; do
        sleep 0.01
        tries=$((tries - 1))
    done
}

kill_host() {
    directory=$1
    name=tu-$(basename "$(dirname "$directory")")-$(basename "$directory")
    for cgroup in "/sys/fs/cgroup/unified/$name" "/sys/fs/cgroup/$name"; do
        [ -e "$cgroup/cgroup.kill" ] || continue
        # First what runs in the container, for nspawn to end by itself and to collect it; then whatever is left.
        if [ -e "$cgroup/payload/cgroup.kill" ]; then
            echo 1 >"$cgroup/payload/cgroup.kill"
            empty_within 300 "$cgroup"
        fi
        echo 1 >"$cgroup/cgroup.kill"
        empty_within 3000 "$cgroup"
    done
    for cgroup in "/sys/fs/cgroup/unified/$name" "/sys/fs/cgroup/systemd/$name" "/sys/fs/cgroup/$name"; do
        [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
    done
}

end_host() {
    kill_host "$1"
    # The host's processes are gone, but the kernel may take a moment to let go of their mounts.
    for mounted in "$directory/root" "$directory"; do
        ! mountpoint -q "$mounted" || umount -R "$mounted" 2>/dev/null || umount -R -l "$mounted"
    done
    rm -rf --one-file-system "$directory" "/run/systemd/nspawn/propagate/$name" "/run/systemd/nspawn/unix-export/$name"
}

end_process() {
    for directory in "$1"/[0-9]*; do
        [ ! -d "$directory" ] || end_host "$directory"
    done
    keys=$(readlink "$1/gnupg") && [ -d "$keys" ] && {
        GNUPGHOME=$keys gpgconf --kill all
        rm -rf "$keys"
    }
    rm -rf --one-file-system "$1"
}

case $1 in
    kill) kill_host "$2" ;;
    host) end_host "$2" ;;
    process) end_process "$2" ;;
    janitor)
        trap '' HUP INT TERM
        cat >/dev/null
        end_process "$2"
        ;;
esac
