#!/usr/bin/env bash
# Installs the Debian packages into a clean Debian that is booted for it, with systemd as its first process and a network of
# its own, and plays there what a first user does (first-user.sh) and what becomes of an installation (life.sh).
#
#   run.sh XLAT.deb XLAT-JOOL.deb [SCRIPT...]      SCRIPT: those to play, both unless named; `shell` for a look around
#
# Needs root, mmdebstrap and systemd-nspawn. ROOT_TAR names a file that keeps the clean Debian for the next time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
debs=$(realpath "$1" "$2")
shift 2
scripts=${*:-first-user.sh life.sh}

work=$(mktemp -d "${TMPDIR:-/tmp}/xlat-installed.XXXXXX")
machine=xlat-$$
container= nspawn= first=
cleanup() {
    # With the first process of the container everything in it ends, and systemd-nspawn after it.
    for process in $first $nspawn $container; do
        kill -KILL "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    umount "$work/bpf" 2>/dev/null || true
    rm -rf --one-file-system "$work"
    # systemd-nspawn leaves its control groups, empty, where no service manager looks after them.
    for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -d "$hierarchy/$machine" ] && find "$hierarchy/$machine" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}
trap cleanup EXIT
fail() {
    echo "$*" >&2
    cat "$work/console.log" >&2 || true
    exit 1
}

echo "== a clean Debian"
began=$SECONDS
tar=${ROOT_TAR:-$work/root.tar}
if [ ! -e "$tar" ]; then
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,iproute2,iputils-ping,curl,iperf3 \
        --dpkgopt=path-exclude=/usr/share/doc/* --aptopt=DPkg::Lock::Timeout=300 "${SUITE:-bookworm}" "$tar.part.tar"
    mv "$tar.part.tar" "$tar"
fi
mkdir "$work/root" "$work/bpf"
tar -C "$work/root" -xf "$tar"
mkdir "$work/root/try"
cp "$here"/*.sh "$work/root/try/"
cp "$here/../../README.md" "$here/../../docs/install.md" "$work/root/try/"
for deb in $debs; do cp "$deb" "$work/root/try/"; done
echo "$((SECONDS - began)) s"

echo "== boot"
began=$SECONDS
# In a control group of its own, and with a mount namespace of its own around it.
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -d "$hierarchy" ] && mkdir -p "$hierarchy/$machine"
done
(
    for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [ -d "$hierarchy/$machine" ] && echo "$BASHPID" > "$hierarchy/$machine/cgroup.procs"
    done
    exec unshare --mount bash -c '
        mount -t bpf -o mode=0700 bpf "$1/bpf"
        exec timeout --kill-after=5 1200 systemd-nspawn --quiet --directory="$1/root" --machine="$2" --boot \
            --private-network --register=no --keep-unit --console=pipe --capability=all --system-call-filter=bpf \
            --bind=/dev/net/tun --bind="$1/bpf:/sys/fs/bpf"' sh "$work" "$machine"
) < /dev/null > "$work/console.log" 2>&1 &
container=$!

for _ in $(seq 100); do
    nspawn=$(pgrep --parent "$container" --exact systemd-nspawn || true)
    [ -z "$nspawn" ] || first=$(pgrep --parent "$nspawn" --exact systemd || true)
    [ -n "$first" ] && break
    sleep 0.1
done
[ -n "$first" ] || fail "it does not boot"
inside() {
    nsenter --target "$first" --mount --uts --ipc --net --pid \
        env --ignore-environment --chdir=/try TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
timeout 60 bash -c "until [ -S /proc/$first/root/run/systemd/private ]; do sleep 0.1; done" || fail "its systemd does not answer"
state=$(inside timeout 120 systemctl is-system-running --wait || true)
[ "$state" = running ] || { inside systemctl --failed; fail "it is '$state', not running"; }
echo "$((SECONDS - began)) s, $(inside systemctl --version | head -1)"

for script in $scripts; do
    echo "== $script"
    began=$SECONDS
    if [ "$script" = shell ]; then inside bash; continue; fi
    if ! inside bash "/try/$script"; then
        echo "$script failed; the last lines of the log:"
        inside journalctl --no-pager --lines=60 --output=short-precise
        exit 1
    fi
    echo "$script: $((SECONDS - began)) s"
done
inside systemctl poweroff
wait "$container" || true
first= nspawn= container=
