# What becomes of an installation: hardening, restart and upgrade with traffic, Jool's names, network namespaces, removal.
# Goes on where first-user.sh ended: the service runs and translates.
set -euo pipefail
. /try/scene.sh
export DEBIAN_FRONTEND=noninteractive
SERVER=64:ff9b::198.51.100.80

echo "-- the service is contained, and has its fast path all the same"
# Tenths.
systemd-analyze security --no-pager --threshold=20 xlat.service | tail -1
systemd-analyze verify --man=no xlat.service xlat@blue.service
pid=$(systemctl show --property MainPID --value xlat)
grep CapBnd "/proc/$pid/status"
grep -q "^CapBnd:	0000008000001000$" "/proc/$pid/status" || fail "more than CAP_NET_ADMIN and CAP_BPF"
journalctl --unit xlat --output cat --no-pager | grep "no fast path" && fail "there is no fast path"
journalctl --unit xlat --output cat --no-pager | grep "keeps them for the daemon" || fail "no programs were made ready"
shows "runs, process" xlat status
# Packets that the kernel has translated by itself.
by_kernel() { xlat status --json | grep -o '"translated": *[0-9]*' | grep -o '[0-9]*$'; }

echo "-- an older package in the place of this one"
mkdir /tmp/older
dpkg-deb --raw-extract ./xlat_*.deb /tmp/older/xlat
sed -i 's/^Version: .*/Version: 0.0.1-1/' /tmp/older/xlat/DEBIAN/control
dpkg-deb --build --root-owner-group /tmp/older/xlat /tmp/older/xlat.deb > /dev/null
types "apt-get install --yes --allow-downgrades /tmp/older/xlat.deb > /dev/null"
[ "$(systemctl is-active xlat)" = active ] || fail "the service does not run"
pid=$(systemctl show --property MainPID --value xlat)

echo "-- restart, reload and upgrade while traffic goes on"
ip netns exec server iperf3 --server --one-off > /tmp/iperf.server 2>&1 &
on_client ping -i 0.2 -w 14 "$SERVER" > /tmp/ping &
ping=$!
sleep 0.5
on_client iperf3 --client "$SERVER" --time 12 --interval 1 --bitrate 50M --forceflush > /tmp/iperf &
iperf=$!
sleep 3
types systemctl restart xlat
sleep 2
types "apt-get install --yes ./xlat_*.deb > /tmp/upgrade"
grep -q "Unpacking xlat (.*) over (0.0.1-1)" /tmp/upgrade || { cat /tmp/upgrade; fail "it was not an upgrade"; }
[ "$(systemctl show --property MainPID --value xlat)" != "$pid" ] || fail "an upgrade does not restart the daemon"
sleep 2
types systemctl reload xlat
wait $iperf || { cat /tmp/iperf; fail "the TCP connection broke"; }
wait $ping || { tail -3 /tmp/ping; fail "the echo flow broke"; }
tail -4 /tmp/iperf
tail -2 /tmp/ping
[ "$(by_kernel)" -gt 10000 ] || fail "the kernel does not translate: $(xlat status)"
grep -q " 0.00 bits/sec" /tmp/iperf && { cat /tmp/iperf; fail "TCP stood still for a second"; }
grep -q " 0% packet loss" /tmp/ping || fail "packets of a known flow were lost"

echo "-- Jool's names"
apt-get install --yes ./xlat-jool_*.deb > /dev/null
shows default jool instance display
types systemctl stop xlat
types xlat stop --flush
jool instance display && fail "somebody answers although nothing runs"
shows "" jool instance add second --iptables --pool6 2001:db8:64::/96
[ "$(systemctl is-active xlat)" = active ] || fail "jool did not start the service"
shows second jool instance display

echo "-- network namespaces"
ip netns add blue
printf '[[instance]]\nname = "blue"\ntype = "nat64"\npool4 = ["203.0.113.2"]\n[instance.global]\npool6 = "64:ff9b::/96"\n' > /etc/xlat/blue.toml
types systemctl start xlat@blue
shows blue nsenter --net=/run/netns/blue jool instance display
journalctl --unit xlat@blue --output cat --no-pager | grep "no fast path" && fail "there is no fast path in a namespace"
shows second jool instance display
ip netns add green
# No service is meant there.
shows "" nsenter --net=/run/netns/green jool instance add green --pool6 64:ff9b::/96
shows green nsenter --net=/run/netns/green jool instance display
types nsenter --net=/run/netns/green xlat stop --flush

echo "-- a second daemon by hand is refused, and does no harm"
timeout 20 xlat run && fail "two daemons with one device"
shows second jool instance display

echo "-- removal"
# As a person does it: nothing asks on the terminal.
types "timeout 100 script --quiet --return --command 'apt-get remove --yes xlat' /dev/null < /dev/null > /dev/null"
! grep -qx xlat /proc/[0-9]*/comm 2>/dev/null || fail "a daemon is left"
for namespace in self blue; do
    [ $namespace = self ] && look= || look="nsenter --net=/run/netns/$namespace"
    [ -z "$($look ip link show xlat0 2>/dev/null)" ] || fail "the device is left ($namespace)"
    ! $look ip rule | grep xlat0 || fail "a rule is left ($namespace)"
    [ "$($look cat /proc/sys/net/ipv6/conf/all/forwarding)" = 0 ] || fail "forwarding is left on ($namespace)"
done
! tc filter show dev wan ingress | grep . || fail "a program is left"
[ -z "$(find /sys/fs/bpf/xlat -type f)" ] || fail "something is left in the kernel"
[ -e /etc/xlat/xlat.toml ] || fail "the configuration went with the program"
types "apt-get purge --yes xlat > /dev/null"
rm /etc/xlat/blue.toml
rmdir /etc/xlat 2>/dev/null || true
for path in /usr/bin/xlat /usr/bin/jool /etc/xlat /run/xlat /var/log/xlat /sys/fs/bpf/xlat /etc/logrotate.d/xlat /etc/systemd/system/multi-user.target.wants/xlat.service; do
    [ ! -e $path ] || fail "$path is left"
done
! getent group xlat || fail "the group is left"
echo "nothing is left"
