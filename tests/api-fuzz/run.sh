#!/usr/bin/env bash
# Asks a daemon in a network namespace of its own whatever its OpenAPI document allows, and some things that it does not
# (schemathesis): no answer may be a 5xx, undocumented, or of another form. Usage: run.sh XLAT [EXAMPLES]
set -euo pipefail

if [ "${1:-}" != inside ]; then
    xlat=$(realpath "${1:?usage: run.sh XLAT [EXAMPLES]}")
    here=$(cd "$(dirname "$0")" && pwd)
    tools=${TOOLS:-$here/../../target/api-fuzz}
    if [ ! -x "$tools/bin/schemathesis" ]; then
        echo "== install schemathesis to $tools"
        if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet 'schemathesis>=4,<5'; }; then
            echo "skipped: schemathesis cannot be installed here (python3-venv, a way to PyPI)"
            exit 0
        fi
    fi
    [ -e /dev/net/tun ] || { echo "skipped: there is no /dev/net/tun"; exit 0; }
    user=(); [ "$(id -u)" = 0 ] || user=(--user --map-root-user)
    exec unshare "${user[@]}" --net --mount "$here/run.sh" inside "$xlat" "$tools" "$here" "${2:-25}"
fi

xlat=$2 tools=$3 here=$4 examples=$5
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
# The daemon trusts nobody's folder but root's.
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
"$xlat" run --config "$here/xlat.toml" --state-dir /run/xlat >"$work/log" 2>&1 &
python3 "$here/bridge.py" &
for _ in $(seq 100); do grep -q 'xlat is ready' "$work/log" && break; sleep 0.1; done
cd "$work"
status=0
# Not asked: streams without end, which no answer ends. Not checked: that whatever fits the schema is accepted; a configuration
# has rules that no schema says.
"$tools/bin/schemathesis" --config-file "$here/schemathesis.toml" run http://127.0.0.1:8099/v1/openapi.json \
    --url http://127.0.0.1:8099 --exclude-tag streams --exclude-checks positive_data_acceptance \
    --max-examples "$examples" --request-timeout 20 --seed 1 --no-color || status=$?
if ! kill -0 %1 2>/dev/null || grep -q panicked "$work/log"; then
    echo "the daemon did not survive it:"
    tail -n 30 "$work/log"
    status=1
fi
exit "$status"
