# What a first user does, word for word as README.md and docs/install.md tell: install, start, try, look, make a mistake,
# read what is wrong, put it right.
set -euo pipefail
. /try/scene.sh
export DEBIAN_FRONTEND=noninteractive
network

block README.md install
[ "$(systemctl is-enabled xlat)" = enabled ] || fail "the service is not enabled"
[ "$(systemctl is-active xlat)" = active ] || fail "the service does not run"
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || fail "a daemon without instance has made a router of this host"

block README.md configure
# The client of the document is a host of its own.
ping() { on_client ping "$@"; }
block README.md try
unset -f ping

block README.md look > /tmp/look
cat /tmp/look
grep -q "198.51.100.7" /tmp/look || fail "xlat top does not show pool4"
grep -q "^translating" /tmp/look || fail "the page's address does not say that it is ready"
# Not through a pipe: `grep -q` leaves as soon as it has found it, and what curl has left to write would count as its failure.
curl --silent --fail http://127.0.0.1:9464/ > /tmp/page || fail "there is no page"
grep -q "<title>" /tmp/page || fail "there is no page"
if block install.md mistake; then fail "a file with a mistake was accepted"; fi
if block install.md read > /tmp/read; then fail "xlat check accepts a file with a mistake"; fi
cat /tmp/read
grep -q "198.51.100.700" /tmp/read || fail "the log does not show what is wrong"
on_client ping -c 1 -W 5 64:ff9b::198.51.100.80 || fail "a mistake in the file has ended translation"
block install.md repair
on_client ping -c 1 -W 5 64:ff9b::198.51.100.80
echo "a first user gets along"
