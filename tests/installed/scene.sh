# Sourced inside the booted Debian: it is a router between an IPv6 client and an IPv4 server, and there are words to say
# what is expected.
#
#   client  2001:db8:1::8 ---- lan  [ router ]  wan 198.51.100.1 ---- 198.51.100.80  server

fail() { echo "FAILED: $*" >&2; exit 1; }

# Runs what a user would type, and shows it like a terminal.
types() { echo "\$ $*"; eval "$*"; }

# Output of a command must contain a text.
shows() {
    local text=$1 output
    shift
    output=$("$@" 2>&1) || { echo "$output"; fail "\`$*\` ended with an error"; }
    echo "$output"
    [[ $output == *"$text"* ]] || fail "\`$*\` does not show '$text'"
}

# Commands of the documents: the block that follows the line <!-- NAME --> in a file.
block() {
    local commands
    commands=$(awk -v mark="<!-- $2 -->" '$0 == mark { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' "$1")
    [ -n "$commands" ] || fail "$1 has no commands marked $2"
    echo "--- $1: $2"
    echo "$commands"
    echo "---"
    # As root there is no need for it, and it is not there.
    sudo() { "$@"; }
    eval "$commands"
}

network() {
    [ -e /run/netns/client ] && return
    ip netns add client
    ip netns add server
    ip link add lan type veth peer name eth0 netns client
    ip link add wan type veth peer name eth0 netns server
    ip address add 2001:db8:1::1/64 dev lan nodad
    ip address add 198.51.100.1/24 dev wan
    ip link set lan up
    ip link set wan up
    for host in client server; do
        ip -n $host link set lo up
        ip -n $host link set eth0 up
    done
    ip -n client address add 2001:db8:1::8/64 dev eth0 nodad
    ip -n client route add default via 2001:db8:1::1
    ip -n server address add 198.51.100.80/24 dev eth0
    # Link-local addresses, which routers speak from, are not there at once.
    for _ in $(seq 50); do
        [ -z "$(ip -6 address show tentative; ip -n client -6 address show tentative)" ] && return
        sleep 0.1
    done
    fail "addresses stay tentative"
}

on_client() { ip netns exec client "$@"; }
on_server() { ip netns exec server "$@"; }
