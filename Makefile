# What can be done with this repository; `make` alone lists it. Everything prints what it does as it goes.

CARGO  ?= cargo
PREFIX ?= /usr/local
# More arguments for `make demo`, for instance ARGS="siit" or ARGS="--keep".
ARGS   ?=

TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
# How it is compiled; `dev` is quicker.
PROFILE   ?= release
BUILT      = $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
XLAT       = $(BUILT)/xlat
JOOL       = jool jool_siit joold

# Program and Debian package that has it.
TOOLS       = ip:iproute2 ping:iputils-ping curl:curl traceroute:traceroute iperf3:iperf3 tcpdump:tcpdump \
              sysctl:procps setpriv:util-linux cc:gcc zsh:zsh fish:fish nft:nftables ethtool:ethtool
DEB_TOOLS   = dpkg-shlibdeps:dpkg-dev git:git
INSTALLED_TOOLS = mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux pgrep:procps
BENCH_TOOLS = $(TOOLS) tayga:tayga

.DEFAULT_GOAL = help
.PHONY: help build demo test lint bench fuzz fuzz-api bpf bpf-check kernels install-deps install-browser install-bench-deps install-fuzz-deps install-deb-deps install-installed-deps deb test-installed install install-jool uninstall clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the program, optimised
	@echo "== build"
	$(CARGO) build --profile $(PROFILE) -p xlat
	@echo "built $(XLAT)"

$(XLAT):
	$(MAKE) build

demo: install-deps build ## a NAT64 at work between three hosts made for it (ARGS="siit", "--keep", ...)
	@echo "== demo"
	$(XLAT) demo $(ARGS)

test: install-deps install-browser ## every test
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
	if command -v chromium >/dev/null; then export XLAT_BROWSER=1; fi; \
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
	@echo "== dependencies (advisories, which need the network: cargo deny check advisories)"
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    set -x; $(CARGO) deny check bans licenses sources; \
	else \
	    echo "skipped: cargo-deny is not installed (cargo install cargo-deny)"; \
	fi

bench: install-bench-deps ## the numbers of docs/performance.md
	@echo "== bench"
	$(CARGO) build --release -p xlat -p xlat-bench
	$(TARGET_DIR)/release/memory
	$(TARGET_DIR)/release/control
	$(TARGET_DIR)/release/beside
	$(TARGET_DIR)/release/namespaces
	$(TARGET_DIR)/release/kernel

fuzz: ## each fuzz target for a minute
	@echo "== fuzz"
	fuzz/run.sh

# How much is asked of each operation; the same every time.
EXAMPLES ?= 100

fuzz-api: install-fuzz-deps build ## what the API's OpenAPI document allows, asked of a daemon (installs schemathesis)
	@echo "== fuzz-api"
	TOOLS=$(abspath $(TARGET_DIR))/api-fuzz tests/api-fuzz/run.sh $(XLAT) $(EXAMPLES)

bpf: ## the kernel programs, anew (installs its compiler; the result is committed)
	@echo "== bpf"
	crates/fastpath-ebpf/build.sh
	PROGRAM=bench crates/fastpath-ebpf/build.sh

bpf-check: ## whether the committed kernel programs are those of their sources
	@echo "== bpf-check"
	crates/fastpath-ebpf/build.sh --check
	PROGRAM=bench crates/fastpath-ebpf/build.sh --check

kernels: ## other kernels in an emulator, xlat played on each (KERNELS="5.10 6.1 6.12"; takes long)
	@echo "== kernels"
	tests/kernels/run.sh $(KERNELS)

install-deps: ## the programs that demo and tests use (apt)
	@$(call install_missing,$(TOOLS))

install-deb-deps: ## what makes Debian packages (apt, cargo)
	@$(call install_missing,$(DEB_TOOLS))
	$(CARGO) deb --version || $(CARGO) install --locked cargo-deb

install-installed-deps: ## what boots a clean Debian (apt)
	@$(call install_missing,$(INSTALLED_TOOLS))

install-browser: ## the browser that the live page is tested in (apt; Debian only, elsewhere that test is skipped)
	@if [ "$$(sed -n 's/^ID=//p' /etc/os-release)" = debian ]; then $(call install_missing,chromium:chromium); fi

install-bench-deps: ## the programs that the measurements use (apt)
	@$(call install_missing,$(BENCH_TOOLS))

install-fuzz-deps: ## what installs schemathesis (apt)
	@python3 -c 'import ensurepip' 2>/dev/null || { $(call install_missing,ensurepip:python3-venv); }

# Everything that is installed, here and in the packages.
INTO    = $(DESTDIR)$(PREFIX)
ETC     = $(DESTDIR)/etc/xlat
UNITS   = $(INTO)/lib/systemd/system
MAN     = $(INTO)/share/man/man1
BASH    = $(INTO)/share/bash-completion/completions
ZSH     = $(INTO)/share/zsh/site-functions
FISH    = $(INTO)/share/fish/vendor_completions.d
DOC     = $(INTO)/share/doc/xlat

install: | $(XLAT) ## program, manual, completions, service and configuration to $(DESTDIR)$(PREFIX); build first
	@echo "== install to $(INTO)"
	install -D -m 755 $(XLAT) $(INTO)/bin/xlat
	install -d $(MAN) $(BASH) $(ZSH) $(FISH) $(UNITS) $(ETC) $(DOC)/examples
	rm -f $(MAN)/xlat.1 $(MAN)/xlat-*.1
	$(XLAT) man $(MAN)
	$(XLAT) completions bash > $(BASH)/xlat
	$(XLAT) completions zsh > $(ZSH)/_xlat
	$(XLAT) completions fish > $(FISH)/xlat.fish
	install -m 644 docs/*.md $(DOC)
	install -m 644 docs/examples/* $(DOC)/examples
	sed -e 1d -e 's|@PREFIX@|$(PREFIX)|g; s|@NAME@|xlat|; s|@OF@||; /@NAMESPACE@/d' \
	    packaging/xlat.service.in > $(UNITS)/xlat.service
	sed -e 1d -e 's|@PREFIX@|$(PREFIX)|g; s|@NAME@|%i|; s|@OF@| of network namespace %i|' \
	    -e 's|@NAMESPACE@|NetworkNamespacePath=/run/netns/%i|' packaging/xlat.service.in > $(UNITS)/xlat@.service
	install -D -m 644 packaging/xlat.sysusers $(INTO)/lib/sysusers.d/xlat.conf
	install -D -m 644 packaging/xlat.tmpfiles $(INTO)/lib/tmpfiles.d/xlat.conf
	install -D -m 644 packaging/xlat.logrotate $(DESTDIR)/etc/logrotate.d/xlat
	[ -e $(ETC)/xlat.toml ] || install -m 644 packaging/xlat.toml $(ETC)/xlat.toml
	@[ -n "$(DESTDIR)" ] || echo "next: systemd-sysusers; systemctl daemon-reload; systemctl enable --now xlat"

install-jool: ## Jool's names beside it: jool, jool_siit, joold
	@echo "== Jool's names to $(INTO)"
	install -d $(INTO)/bin $(MAN) $(BASH)
	for name in $(JOOL); do ln -sf xlat $(INTO)/bin/$$name; done
	install -m 644 packaging/jool/jool.1 $(MAN)/jool.1
	install -D -m 644 packaging/jool/modprobe.conf $(INTO)/lib/modprobe.d/xlat-jool.conf
	ln -sf jool.1 $(MAN)/jool_siit.1
	ln -sf jool.1 $(MAN)/joold.1
	install -m 644 packaging/jool/jool.bash $(BASH)/jool
	ln -sf jool $(BASH)/jool_siit

uninstall: ## take away what install brought; the configuration stays if it was changed
	@echo "== uninstall from $(INTO)"
	for name in $(JOOL); do \
	    [ "$$(readlink $(INTO)/bin/$$name)" != xlat ] || \
	        rm -f $(INTO)/bin/$$name $(MAN)/$$name.1 $(BASH)/$$name; \
	done
	rm -f $(INTO)/bin/xlat $(MAN)/xlat.1 $(MAN)/xlat-*.1 $(BASH)/xlat $(ZSH)/_xlat $(FISH)/xlat.fish
	rm -f $(UNITS)/xlat.service $(UNITS)/xlat@.service $(INTO)/lib/sysusers.d/xlat.conf $(INTO)/lib/tmpfiles.d/xlat.conf
	rm -f $(DESTDIR)/etc/logrotate.d/xlat $(INTO)/lib/modprobe.d/xlat-jool.conf
	rm -rf $(DOC)
	if cmp -s packaging/xlat.toml $(ETC)/xlat.toml; then rm $(ETC)/xlat.toml; rmdir --ignore-fail-on-non-empty $(ETC); fi

STAGE       = $(BUILT)/package
DEB_VERSION = $$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)-1

deb: install-deb-deps ## Debian packages: xlat, and xlat-jool with Jool's names, to target/debian
	@echo "== deb"
	$(MAKE) build
	rm -rf $(STAGE)
	$(MAKE) install DESTDIR=$(STAGE)/xlat PREFIX=/usr
	$(MAKE) install-jool DESTDIR=$(STAGE)/xlat-jool PREFIX=/usr
	gzip -9 -n $(STAGE)/xlat/usr/share/man/man1/* $(STAGE)/xlat-jool/usr/share/man/man1/jool.1
	for name in $(filter-out jool,$(JOOL)); do \
	    rm $(STAGE)/xlat-jool/usr/share/man/man1/$$name.1 && \
	        ln -s jool.1.gz $(STAGE)/xlat-jool/usr/share/man/man1/$$name.1.gz || exit 1; \
	done
	for package in xlat xlat-jool; do \
	    doc=$(STAGE)/$$package/usr/share/doc/$$package; \
	    install -d $$doc $(STAGE)/$$package/usr/share/lintian/overrides; \
	    sed "s|@PACKAGE@|$$package|" packaging/deb/lintian-overrides > $(STAGE)/$$package/usr/share/lintian/overrides/$$package; \
	    sed "s|@PACKAGE@|$$package|; s|@VERSION@|$(DEB_VERSION)|; s|@DATE@|$$(git log -1 --format=%cD)|" \
	        packaging/deb/changelog.in | gzip -9 -n > $$doc/changelog.Debian.gz; \
	    gzip -9 -n -c CHANGELOG.md > $$doc/changelog.gz; \
	done
	$(CARGO) deb --no-build --profile $(PROFILE) -p xlat
	$(CARGO) deb --no-build --profile $(PROFILE) -p xlat --variant jool

test-installed: ## the packages in a clean Debian that is booted with systemd (root)
	@echo "== test-installed"
	@if [ "$$(id -u)" != 0 ]; then echo "skipped: takes root"; exit 0; fi; \
	set -e; \
	$(MAKE) install-installed-deps deb; \
	tests/installed/run.sh $(TARGET_DIR)/debian/xlat_$(DEB_VERSION)_*.deb $(TARGET_DIR)/debian/xlat-jool_$(DEB_VERSION)_*.deb

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
$$root apt-get -o DPkg::Lock::Timeout=300 update && \
$$root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $$missing
endef
