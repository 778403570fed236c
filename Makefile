# What can be done with this repository; `make` alone lists it. Everything prints what it does as it goes.

CARGO  ?= cargo
PREFIX ?= /usr/local
# More arguments for `make demo`, for instance ARGS="siit" or ARGS="--keep".
ARGS   ?=

TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
XLAT       = $(TARGET_DIR)/release/xlat

# Program and Debian package that has it.
TOOLS       = ip:iproute2 ping:iputils-ping curl:curl traceroute:traceroute iperf3:iperf3 tcpdump:tcpdump \
              sysctl:procps setpriv:util-linux cc:gcc
BENCH_TOOLS = $(TOOLS) tayga:tayga ethtool:ethtool

.DEFAULT_GOAL = help
.PHONY: help build demo test lint bench fuzz bpf bpf-check install-deps install-bench-deps install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the program, optimised
	@echo "== build"
	$(CARGO) build --release -p xlat
	@echo "built $(XLAT)"

demo: install-deps build ## a NAT64 at work between three hosts made for it (ARGS="siit", "--keep", ...)
	@echo "== demo"
	$(XLAT) demo $(ARGS)

test: install-deps ## every test
	@echo "== test"
	@[ -r /dev/net/tun ] && [ -w /dev/net/tun ] || \
	    echo "note: this user may not open /dev/net/tun: tests with packets are skipped"
	@if [ "$$(id -u)" != 0 ]; then \
	    if unshare --user --map-root-user true; then \
	        echo "note: not root: the tests run as root of a user namespace"; \
	        host=$$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_); \
	        export "CARGO_TARGET_$${host}_RUNNER=unshare --user --map-root-user"; \
	    else \
	        echo "note: neither root nor user namespaces: tests with packets are skipped"; \
	    fi; \
	fi; \
	set -ex; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    $(CARGO) nextest run --workspace --no-fail-fast; \
	    $(CARGO) test --workspace --doc; \
	else \
	    $(CARGO) test --workspace --no-fail-fast; \
	fi

lint: ## formatting, clippy, documentation, dependencies
	@echo "== format"
	$(CARGO) fmt --all --check
	@echo "== clippy"
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@echo "== documentation"
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	@echo "== dependencies"
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    set -x; $(CARGO) deny check; \
	else \
	    echo "skipped: cargo-deny is not installed (cargo install cargo-deny)"; \
	fi

bench: install-bench-deps ## the numbers of docs/performance.md
	@echo "== bench"
	$(CARGO) build --release -p xlat -p xlat-bench
	$(TARGET_DIR)/release/memory
	$(TARGET_DIR)/release/namespaces
	$(TARGET_DIR)/release/kernel

fuzz: ## each fuzz target for a minute
	@echo "== fuzz"
	fuzz/run.sh

bpf: ## the kernel programs, anew (installs its compiler; the result is committed)
	@echo "== bpf"
	crates/fastpath-ebpf/build.sh
	PROGRAM=bench crates/fastpath-ebpf/build.sh

bpf-check: ## whether the committed kernel programs are those of their sources
	@echo "== bpf-check"
	crates/fastpath-ebpf/build.sh --check
	PROGRAM=bench crates/fastpath-ebpf/build.sh --check

install-deps: ## the programs that demo and tests use (apt)
	@$(call install_missing,$(TOOLS))

install-bench-deps: ## the programs that the measurements use (apt)
	@$(call install_missing,$(BENCH_TOOLS))

install: build ## program, manual, completions and unit to $(DESTDIR)$(PREFIX)
	@echo "== install to $(DESTDIR)$(PREFIX)"
	install -D -m 755 $(XLAT) $(DESTDIR)$(PREFIX)/bin/xlat
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(XLAT) man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(XLAT) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/xlat
	$(XLAT) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_xlat
	$(XLAT) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/xlat.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' packaging/xlat.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/xlat.service

clean: ## remove what was built
	$(CARGO) clean

# Installs the packages of those programs that are not there; does nothing when none is missing.
define install_missing
missing=; PATH="$$PATH:/usr/sbin:/sbin"; \
for tool in $(1); do command -v "$${tool%%:*}" >/dev/null || missing="$$missing $${tool#*:}"; done; \
[ -z "$$missing" ] && exit 0; \
echo "== install:$$missing"; \
if ! command -v apt-get >/dev/null; then \
    echo "There is no apt-get here: install what corresponds to these Debian packages:$$missing" >&2; exit 1; \
fi; \
root=; [ "$$(id -u)" = 0 ] || root=sudo; \
if [ -n "$$root" ] && ! command -v sudo >/dev/null; then \
    echo "Neither root nor sudo: as root, run: apt-get install$$missing" >&2; exit 1; \
fi; \
$$root apt-get update && \
$$root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing
endef
