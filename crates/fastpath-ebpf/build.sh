#!/usr/bin/env bash
# Compiles the kernel program to crates/linux/bpf/xlat.bpf.o and notes the hash of its sources beside it.
#   build.sh          compile
#   build.sh --check  only say whether the committed object is the one of these sources
# With PROGRAM=bench in the environment: the programs of the measurements, to bench/bpf/bench.bpf.o.
# Takes Debian's rustc-web with rust-web-src where they are installed, else rustup's toolchain; either way the compiler
# is asked for unstable features (build-std), which RUSTC_BOOTSTRAP allows.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PROGRAM:-xlat}
case $program in
    xlat) crate=crates/fastpath-ebpf shared=crates/fastpath object=crates/linux/bpf/xlat.bpf.o ;;
    bench) crate=bench/ebpf shared= object=bench/bpf/bench.bpf.o ;;
    *) echo "there is no program $program" >&2; exit 1 ;;
esac
hashes=${object%.o}.sha256
linker_version=0.13.0
llvm=22

# Everything that the object depends on, but for the compiler.
source_hash() {
    find ${shared:+"$shared/src"} "$crate/src" -name '*.rs' \
        | cat - <(printf '%s\n' ${shared:+"$shared/Cargo.toml"} "$crate"/{Cargo.toml,Cargo.lock} \
            crates/fastpath-ebpf/build.sh) \
        | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1
}
object_hash() { sha256sum "$object" | cut -d' ' -f1; }

if [ "${1:-}" = --check ]; then
    expected="sources $(source_hash)"$'\n'"object $(object_hash)"
    if [ "$expected" != "$(cat "$hashes")" ]; then
        echo "$object is not the one of these sources: run make bpf and commit what it makes" >&2
        exit 1
    fi
    echo "$object is the one of these sources"
    exit 0
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
apt_install() {
    command -v apt-get >/dev/null || { echo "needed: $*" >&2; exit 1; }
    echo "== install: $*"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

if [ ! -d /usr/lib/rustlib/src/rust/library ] && ! command -v rustup >/dev/null; then
    apt_install rustc-web cargo-web rust-web-src
fi
if [ -d /usr/lib/rustlib/src/rust/library ]; then
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
else
    rustup component add rust-src
    cargo=cargo
fi
export RUSTC_BOOTSTRAP=1

export PATH="$PATH:$HOME/.cargo/bin:/usr/lib/llvm-$llvm/bin"
if ! bpf-linker --version 2>/dev/null | grep -qF "$linker_version"; then
    [ -d "/usr/lib/llvm-$llvm/include" ] \
        || apt_install "llvm-$llvm-dev" "libpolly-$llvm-dev" libzstd-dev zlib1g-dev libxml2-dev libffi-dev
    echo "== install bpf-linker $linker_version"
    RUSTFLAGS="-L /usr/lib/llvm-$llvm/lib -C link-arg=-Wl,-rpath,/usr/lib/llvm-$llvm/lib" \
        LLVM_PREFIX=/usr/lib/llvm-$llvm LLVM_SYS_221_PREFIX=/usr/lib/llvm-$llvm \
        "$cargo" install bpf-linker --version "$linker_version" --locked --no-default-features --features "llvm-$llvm"
fi
command -v llvm-objcopy >/dev/null || apt_install "llvm-$llvm"

# No path of this machine gets into the object.
target=$PWD/$crate/target
sysroot=$("${RUSTC:-rustc}" --print sysroot)
flags=(
    -Clinker=bpf-linker
    "--remap-path-prefix=$PWD=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
    "--remap-path-prefix=$sysroot=rust"
)
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}") CARGO_TARGET_DIR="${BPF_TARGET_DIR:-$target}" \
    "$cargo" build --manifest-path "$crate/Cargo.toml" --release --locked \
    --target bpfel-unknown-none -Z build-std=core
mkdir -p "$(dirname "$object")"
# Without type information: the kernel refuses that of Rust's enums, and says so at length at every start.
llvm-objcopy --strip-debug --remove-section=.BTF --remove-section=.BTF.ext \
    "${BPF_TARGET_DIR:-$target}/bpfel-unknown-none/release/$program" "$object"
printf 'sources %s\nobject %s\n' "$(source_hash)" "$(object_hash)" >"$hashes"
ls -l "$object"
