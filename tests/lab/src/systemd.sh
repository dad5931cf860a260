# Boots a systemd as PID 1 of private namespaces and ends it when standard input ends, however its owner died.
# $1: a name, PID-NUMBER, where PID is the owner; $2: a directory for its files; $3: where systemd tells that it is up.
# Writes the process id of that systemd, as the world outside sees it, to standard output.
trap '' INT HUP TERM
name=$1 dir=$2 notify=$3

# The control groups: one of our own in every hierarchy that systemd uses, so that several systemds do not meet.
hierarchies=
while read -r _ at kind options _; do
    case "$kind $options" in
    cgroup2\ *) hierarchies="$hierarchies $at" ;;
    *name=systemd*) hierarchies="$hierarchies $at" ;;
    cgroup\ *) case "${at##*/}" in cpu | cpuacct | cpu,cpuacct | memory | pids | devices | blkio) hierarchies="$hierarchies $at" ;; esac ;;
    esac
done </proc/self/mounts

remove() { # remove CGROUP: ends what is left in it, and it
    find "$1" -depth -type d 2>/dev/null | while read -r group; do
        while read -r pid; do kill -KILL "$pid" 2>/dev/null; done <"$group/cgroup.procs"
        rmdir "$group" 2>/dev/null
    done
}

# What an owner left who was killed together with the script that watched over it.
for at in $hierarchies; do
    for left in "$at"/hob-lab-*; do
        owner=${left##*/hob-lab-}
        [ -d "$left" ] && ! kill -0 "${owner%%-*}" 2>/dev/null && remove "$left"
    done
done

(
    exec 2>"$dir/boot.log"
    for at in $hierarchies; do
        mkdir "$at/hob-lab-$name" && echo 0 >"$at/hob-lab-$name/cgroup.procs" || exit 1
    done
    NOTIFY=$notify DIR=$dir exec unshare --mount --pid --cgroup --uts --fork --kill-child=KILL /bin/sh -ec '
        read -r pid _ </proc/self/stat
        echo "$pid" >"$DIR/pid"
        echo "$pid"
        exec </dev/null >&2
        mount --make-rprivate /
        mounts=$(while read -r _ at kind options _; do echo "$at $kind $options"; done </proc/self/mounts)
        mount -t proc proc /proc
        mount -t tmpfs -o mode=755 tmpfs /run
        for private in /etc/systemd/system /etc/systemd/user /var/lib/systemd; do
            mount -t tmpfs -o mode=755 tmpfs "$private"
        done
        # Its own view of the control groups, laid out as the machine lays them out.
        umount -R /sys/fs/cgroup
        echo "$mounts" | while read -r at kind options; do
            case "$at $kind $options" in
            /sys/fs/cgroup\ tmpfs\ *) mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup ;;
            /sys/fs/cgroup*\ cgroup2\ *) mkdir -p "$at"; mount -t cgroup2 cgroup2 "$at" ;;
            *name=systemd*) mkdir -p "$at"; mount -t cgroup -o none,name=systemd cgroup "$at" ;;
            *\ cgroup\ *)
                controllers=${at##*/}
                mkdir -p "$at"
                case "$controllers" in cpu|cpuacct|cpu,cpuacct|memory|pids|devices|blkio)
                    mount -t cgroup -o "$controllers" cgroup "$at" ;;
                esac ;;
            esac
        done
        mkdir -p /run/systemd/system /etc/systemd/system
        printf "%s\n" "[Unit]" "Description=Everything a test needs" \
            "Requires=dbus.socket systemd-journald.service" "After=dbus.socket systemd-journald.service" \
            "AllowIsolate=yes" >/etc/systemd/system/lab.target
        # They would touch the machine outside.
        for unit in tmpfiles-setup tmpfiles-setup-dev tmpfiles-clean udevd journal-flush remount-fs sysctl \
            random-seed update-utmp; do
            ln -s /dev/null "/run/systemd/system/systemd-$unit.service"
        done
        ln -s /dev/null /run/systemd/system/systemd-tmpfiles-clean.timer
        # Last: the directory of the files is below it.
        mount -t tmpfs -o mode=1777 tmpfs /tmp
        # As systemd does at the start of a machine, and not in a container: credentials of units are mounted from
        # another name space, and would not be seen here.
        mount --make-rshared /
        exec env -i container=lab NOTIFY_SOCKET="$NOTIFY" PATH="$PATH" \
            /lib/systemd/systemd --system --unit=lab.target
    '
) &
booted=$!
exec >/dev/null

while read -r _; do :; done
# PID 1 of a namespace ends after everything in it, and unshare after PID 1.
pid=
[ -f "$dir/pid" ] && read -r pid <"$dir/pid"
kill -KILL "${pid:-$booted}" 2>/dev/null
wait "$booted" 2>/dev/null
for at in $hierarchies; do remove "$at/hob-lab-$name"; done
rm -rf -- "$dir"
