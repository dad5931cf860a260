# Process 1 of the namespaces of a container engine: makes its surroundings, starts it, and does what it is ordered.
# $1: a directory for its files; $2: podman, rootless or docker. IMAGE, CREDENTIALS and ROOTLESS_UID come from engine.rs.
set -eu
d=$1 kind=$2
cd "$d"
exec 9>lock
flock -s 9
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
# What is changed below /etc is changed for this engine only.
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work overlay /etc
mkdir -p /etc/cdi
mount --bind "$d/cdi" /etc/cdi
ip link set lo up

engine=/usr/bin/podman
storage="--root $d/root --runroot /run/lab-run --tmpdir /run/lab-tmp"
case $kind in
podman) ;;
rootless)
    chmod 711 "$d"
    echo "lab:x:$ROOTLESS_UID:$ROOTLESS_UID::$d/home:/bin/sh" >>/etc/passwd
    echo "lab:x:$ROOTLESS_UID:" >>/etc/group
    echo lab:100000:65536 | tee /etc/subuid >/etc/subgid
    # Its users may open it, unlike that of some machines.
    mknod -m 666 /run/tun c 10 200
    mount --bind /run/tun /dev/net/tun
    mkdir -p "/run/user/$ROOTLESS_UID" home root
    chown -R "$ROOTLESS_UID:$ROOTLESS_UID" "/run/user/$ROOTLESS_UID" home root run tmp networks shared
    engine="setpriv --reuid=$ROOTLESS_UID --regid=$ROOTLESS_UID --init-groups env HOME=$d/home \
        XDG_RUNTIME_DIR=/run/user/$ROOTLESS_UID /usr/bin/podman"
    storage="--root $d/root --runroot /run/user/$ROOTLESS_UID/run --tmpdir /run/user/$ROOTLESS_UID/tmp" ;;
docker)
    engine="env DOCKER_CONFIG=$d/docker /usr/bin/docker"
    storage="-H unix://$d/run/engine.sock" ;;
esac
cat >cli <<CLI
#!/bin/sh
export CONTAINERS_CONF=$d/containers.conf CONTAINERS_REGISTRIES_CONF=$d/registries.conf TMPDIR=$d/tmp
cd "$d/shared"
exec $engine $storage "\$@"
CLI
chmod 755 cli

serve() {
    rm -f run/engine.sock
    case $kind in
    docker)
        dockerd --config-file "$d/daemon.json" --data-root "$d/root" --exec-root /run/docker --pidfile /run/docker.pid \
            --host "unix://$d/run/engine.sock" --storage-driver vfs --live-restore \
            --cgroup-parent "/${d##*/}" >>dockerd.log 2>&1 9>&- & ;;
    *) ./cli system service --time 0 "unix://$d/run/engine.sock" >/dev/null 9>&- & ;;
    esac
    service=$!
    await_that [ -S run/engine.sock ]
}
await_that() { # COMMAND…
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || exit 1
        sleep 0.01
    done
}
end() { # Without root Podman is two processes, and the first does not always hand a signal on.
    case $kind in
    docker) kill "$service" ;;
    *) for process in /proc/[0-9]*; do
        case $(tr '\0' ' ' <"$process/cmdline") in
        *"podman "*"system service --time 0"*) kill -KILL "${process#/proc/}" ;;
        esac
    done ;;
    esac
}
refused() { ! curl --silent --max-time 1 --unix-socket run/engine.sock http://engine/_ping >/dev/null; }
listening() { busybox nc -w 1 127.0.0.1 "$1" </dev/null >/dev/null 2>&1; }
push() { # push REGISTRY
    ./cli tag "$IMAGE" "$1/busybox:1"
    ./cli push -q "$1/busybox:1" >/dev/null
    ./cli rmi "$1/busybox:1" >/dev/null
}

cp "$(command -v busybox)" rootfs/bin/busybox
busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "rootfs/bin/$applet"; done
serve
tar -C rootfs -c . | ./cli import --change 'CMD ["sh"]' --change 'ENV FROM_IMAGE=yes' - "$IMAGE" >/dev/null 2>&1
echo ready
while read -r order; do
    case $order in
    stop)
        end
        wait "$service" || true
        await_that refused ;;
    start) serve ;;
    registries)
        for port in 5000 5001; do docker-registry serve "registry-$port.yml" >/dev/null 2>&1 9>&- & done
        await_that listening 5000
        await_that listening 5001
        push localhost:5000
        printf %s "${CREDENTIALS#*:}" |
            ./cli login --username "${CREDENTIALS%%:*}" --password-stdin localhost:5001 >/dev/null 2>&1
        push localhost:5001
        ./cli logout localhost:5001 >/dev/null ;;
    *) break ;;
    esac
    echo ready
done
exec >/dev/null
case $kind in
docker)
    ./cli ps --all --quiet | while read -r id; do ./cli rm --force --volumes "$id"; done
    kill "$service"
    wait "$service" || true ;;
*) ./cli rm --all --force --time 0 || true ;;
esac
