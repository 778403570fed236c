#!/bin/sh
# First process of the guest that run.sh boots: mounts what a system has, plays the steps that the kernel's command line
# names, says how each ended, and turns the machine off.
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/net /run
# /tmp stays what it is, in memory too: the programs under test may be below it, where they were built.
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
# Not all of them are modules everywhere.
for module in tun veth bridge sch_ingress cls_bpf; do modprobe "$module" 2>/dev/null; done
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
echo "=== kernel: $(uname -r)"

step() {
    case ",$XLAT_STEPS," in *",$1,"*) ;; *) return ;; esac
    name=$1; shift
    echo "=== $name"
    "$@" </dev/null 2>&1
    status=$?
    if [ $status = 0 ]; then echo "=== result $name: ok"; else echo "=== result $name: FAILED ($status)"; fi
}

step check xlat check /root/nat64.toml
# As the installed service: `xlat load` with all rights, then a daemon that may not load programs.
step prepared functional --test-threads 1 prepared
step packets differential --test-threads 1
step nat64 xlat demo --bytes 5M nat64
step siit xlat demo --bytes 5M siit
step offload functional --test-threads 1 super_packets
echo "=== done after $(cut -d. -f1 /proc/uptime) s"
poweroff -f
