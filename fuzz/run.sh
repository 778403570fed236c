#!/bin/sh
# Runs every fuzz target for a while: fuzz/run.sh [SECONDS [TARGET...]]. Starts from the corpus in the tree; what it
# finds goes to fuzz/target/corpus, inputs that fail to fuzz/artifacts. All code is safe Rust, so no sanitizer is used,
# and the stable compiler does (`RUSTC_BOOTSTRAP`); overflow checks and debug assertions are on.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^xlat-fuzz$')
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz"
    cargo install cargo-fuzz --locked
fi
export RUSTC_BOOTSTRAP=1
failed=
for target in "$@"; do
    echo "== fuzz $target for $seconds seconds"
    found=fuzz/target/corpus/$target
    mkdir -p "$found"
    status=$( { { cargo fuzz run -s none "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=2500 -print_final_stats=1 2>&1
        echo $? >&3; } | grep --line-buffered -E 'pulse|panicked|left:|right:|stat::|artifact|^error' >&4; } 3>&1 ) 4>&1
    [ "$status" = 0 ] || failed="$failed $target"
done
[ -z "$failed" ] || { echo "failed:$failed (see fuzz/artifacts)"; exit 1; }
echo "nothing found"
