#!/usr/bin/env bash
# Boots other kernels in an emulator and plays xlat on them: see `run.sh --help`. Each step that a kernel does is a line of
# guest.sh; what it printed is kept in a file for each kernel.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
    cat <<'END'
Boots Linux kernels in qemu and has xlat translate there: what the kernel allows, the programs against the engine, the demos.

  tests/kernels/run.sh [KERNEL...]

KERNEL is one of
  5.10, 6.1, 6.12, ...     the newest kernel of that version that Debian has (for cloud machines), fetched by apt
  FILE.deb[,FILE.deb...]   packages with a kernel and its modules, of Debian or a distribution like it
Without any: 5.10 6.1 6.12.

The emulator needs no KVM and no root, and takes minutes for each kernel. In the environment:
  STEPS="check demo"   only these steps (check prepared packets nat64 siit offload; all unless set)
  PACKETS=300          how many generated packets go through programs and engine
  SECONDS_MAX=1500     after how long a kernel is given up
  BUILD=no             take the program and the tests as they were built before
  XLAT=FILE            take this program instead of target/release/xlat
Results: kernels/VERSION.log where cargo builds (target), and a table at the end.
END
}
case ${1:-} in -h | --help) usage; exit 0 ;; esac
[ $# -gt 0 ] || set -- 5.10 6.1 6.12

steps=${STEPS:-check prepared packets nat64 siit offload}
packets=${PACKETS:-300}
limit=${SECONDS_MAX:-1500}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/kernels
mkdir -p "$work"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Programs of this machine, and their packages.
missing=
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio depmod:kmod ip:iproute2 ping:iputils-ping \
    curl:curl traceroute:traceroute sysctl:procps setpriv:util-linux xz:xz-utils ethtool:ethtool; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "needed:$missing" >&2; exit 1; }
    echo "== install:$missing"
    as_root apt-get update
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $missing
fi
export PATH=$PATH:/usr/sbin:/sbin

# Debian's kernel of a version, from the mirror that this machine uses: prints the path of the package.
fetch() {
    local version=$1 site suite
    site=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' \
        | awk '/(bullseye|bookworm|trixie|sid)$/ { print $1; exit }')
    [ -n "$site" ] || { echo "apt has no Debian mirror here: give packages as files" >&2; return 1; }
    for suite in bullseye bookworm bookworm-backports trixie trixie-backports sid; do
        local apt=$work/apt/$suite package
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
        echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" >"$apt/sources.list"
        local options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
            -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none
            -o APT::Architecture=amd64 -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true)
        [ -e "$apt/updated" ] || { apt-get "${options[@]}" -qq update >&2 && touch "$apt/updated"; }
        package=$(apt-cache "${options[@]}" search --names-only "^linux-image-${version//./\\.}\.[0-9].*-cloud-amd64\$" \
            | cut -d' ' -f1 | sort -V | tail -1)
        [ -n "$package" ] || continue
        (cd "$apt" && apt-get "${options[@]}" -qq download "$package" >&2)
        find "$apt" -maxdepth 1 -name "$package*.deb" | sort -V | tail -1
        return
    done
    echo "no kernel $version in Debian's suites" >&2
    return 1
}

# The newest test program of a name.
test_program() {
    find "$target/debug/deps" -maxdepth 1 -name "$1-*" -perm -u+x -type f -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2
}

# Copies programs with the libraries that they need to where they are here.
take() {
    local root=$1 name file; shift
    for name in "$@"; do
        # Debian's alternatives lead to another name.
        file=$(realpath "$(command -v "$name")")
        install -D "$file" "$root/usr/bin/${name##*/}"
        ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
            [ -e "$root$library" ] || install -D "$library" "$root$library"
        done
    done
}

if [ "${BUILD:-yes}" != no ]; then
    echo "== build"
    cargo build --release --package xlat
    cargo test --package xlat-fastpath-tests --test differential --no-run
    cargo test --package xlat --test functional --no-run
fi

# What is the same in every guest.
common=$work/common
rm -rf "$common"
mkdir -p "$common"/{bin,sbin,dev,proc,sys,tmp,run,root,etc,usr/bin,usr/sbin,sys/fs/bpf}
busybox=$(realpath "$(command -v busybox)")
install "$busybox" "$common/bin/busybox"
for applet in $("$busybox" --list | grep -vxE 'ip|ping|unshare|nsenter|setpriv|sysctl|traceroute|curl|ethtool|busybox'); do
    ln -s busybox "$common/bin/$applet"
done
take "$common" ip ping unshare nsenter setpriv sysctl curl traceroute ethtool
install "${XLAT:-$target/release/xlat}" "$common/usr/bin/xlat"
for name in differential functional; do
    program=$(test_program "$name")
    take "$common" "$program"
    mv "$common/usr/bin/$(basename "$program")" "$common/usr/bin/$name"
done
find "$common/usr/bin" -type f -exec strip {} + 2>/dev/null || true
# The functional tests start the program where it was built.
mkdir -p "$common$target/debug"
ln -s /usr/bin/xlat "$common$target/debug/xlat"
cp docs/examples/nat64.toml "$common/root/"
cp tests/kernels/guest.sh "$common/init"
chmod +x "$common/init"
echo "root:x:0:0:root:/root:/bin/sh" >"$common/etc/passwd"
echo "nobody:x:65534:65534:nobody:/:/bin/false" >>"$common/etc/passwd"
echo "root:x:0:" >"$common/etc/group"

# The emulator of Debian 12 does cmpxchg16b wrongly, on which newer kernels rely where a processor has it (cx16); and on a busy
# machine its timer seems not to work (no_timer_check).

# Boots one kernel: the packages, separated by commas.
play() {
    local name=$1 root kernel release log packages
    root=$work/$name.root
    log=$work/$name.log
    rm -rf "$root" && cp -a "$common" "$root"
    local unpacked=$work/$name.deb
    rm -rf "$unpacked" && mkdir -p "$unpacked"
    IFS=, read -ra packages <<<"$2"
    for package in "${packages[@]}"; do dpkg-deb -x "$package" "$unpacked"; done
    kernel=$(find "$unpacked/boot" -name 'vmlinuz-*' | head -1)
    release=${kernel##*/vmlinuz-}
    local modules=$unpacked/lib/modules/$release
    [ -d "$modules" ] || modules=$unpacked/usr/lib/modules/$release
    mkdir -p "$root/lib/modules/$release/kernel"
    cp "$modules"/modules.{builtin,order,builtin.modinfo} "$root/lib/modules/$release/" 2>/dev/null || true
    for part in net lib drivers/net/veth.ko drivers/net/tun.ko crypto arch/x86/crypto drivers/net/vxlan; do
        (cd "$modules/kernel" && find . -path "./$part*" -name '*.ko*' -print0 \
            | cpio --null --quiet -pdm "$root/lib/modules/$release/kernel")
    done
    find "$root/lib/modules" -name '*.ko.xz' -exec xz -d {} +
    find "$root/lib/modules" -name '*.ko.zst' -exec zstd -q -d --rm {} +
    depmod -b "$root" "$release"
    (cd "$root" && find . -print0 | cpio --null --quiet -o -H newc | gzip -1) >"$work/$name.initramfs"
    rm -rf "$root" "$unpacked"

    echo "== $name: Linux $release"
    # On the kernel's command line a word with an equals sign and no dot is given to the guest's first process.
    timeout --foreground "$limit" qemu-system-x86_64 -machine q35 -accel tcg -cpu max,la57=off,cx16=off -smp 1 -m 2048 \
        -nodefaults -display none -no-reboot -serial stdio -kernel "$kernel_copy" -initrd "$work/$name.initramfs" \
        -append "console=ttyS0 quiet panic=-1 no_timer_check XLAT_STEPS=${steps// /,} XLAT_PACKETS=$packets" </dev/null 2>&1 \
        | tr -d '\r' | tee "$log" | grep --line-buffered -E '^(=== |this kernel|\[.*(BUG|Oops|panic))' || true
    rm -f "$work/$name.initramfs"
}

declare -a names
for wanted in "$@"; do
    case $wanted in
        *.deb*) files=$wanted; name=$(basename "${wanted%%,*}" | cut -d_ -f1 | sed 's/linux-image-//; s/unsigned-//') ;;
        *) files=$(fetch "$wanted"); name=$wanted ;;
    esac
    kernel_copy=$work/$name.kernel
    for package in ${files//,/ }; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --to-stdout --wildcards './boot/vmlinuz-*' >"$kernel_copy" 2>/dev/null || true
        [ -s "$kernel_copy" ] && break
    done
    play "$name" "$files"
    names+=("$name")
done

# A table: kernels as rows, steps as columns.
echo
failed=0
for name in "${names[@]}"; do
    log=$work/$name.log
    release=$(sed -n 's/^=== kernel: //p' "$log")
    results=
    for step in $steps; do
        result=$(sed -n "s/^=== result $step: //p" "$log" | tail -1)
        [ "$result" = ok ] || failed=1
        results="$results  $step: ${result:-not reached}"
    done
    echo "$name (${release:-did not boot}):$results"
done
exit "$failed"
