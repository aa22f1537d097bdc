# Every task of this project. `make` lists them; CONTRIBUTING.md says which of them a change needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin

target := $(abspath $(or $(CARGO_TARGET_DIR),target))
agent := $(target)/release/els-register
backend := $(target)/server/els-backend
# SC2016: text for an inner shell is quoted on purpose. SC2174: with `mkdir -p -m` the mode is meant for the last folder only.
scripts := .ci/run scripts/demo.sh scripts/install-dependencies scripts/provisioning-tools scripts/units-check \
	scripts/tools scripts/lint-ja scripts/guide scripts/deny scripts/fuzz scripts/schemathesis \
	scripts/install scripts/portable-build scripts/rpm scripts/rpm-sign scripts/srpm \
	testkit/fixtures/new-machine testkit/fixtures/mount-usr testkit/fixtures/enter-machine testkit/fixtures/boot-machine \
	dist/libexec/at-boot dist/libexec/at-poweroff

PACKAGES := els-register els-backend
export ARCH EL SIGN RELEASE DESTDIR PREFIX

# VENDOR=DIR: build in that folder's repo-files/ gpg/ products.toml els-register.toml EULA.txt EULA.ja.txt instead of the shipped ones.
ifdef VENDOR
export ELS_VENDOR_DIR := $(abspath $(VENDOR))
endif

.PHONY: help
help: ## list the tasks
	@echo 'make TASK [VENDOR=DIR]'
	@awk -F ' ## ' '/^[a-z-]+:.* ## / { sub(":.*", "", $$1); printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(if $(VENDOR),vendor-check) ## build the agent and the backend, optimised, in target/release and target/server
	cargo build --release --locked -p els-register
	cargo build --profile server --locked -p els-backend
	@ls -l $(agent) $(backend)

.PHONY: rpm
rpm: $(if $(VENDOR),vendor-check) ## build RPMs for glibc 2.28 and later, in target/rpm [ARCH=aarch64] [EL=8] [SIGN=KEY] [RELEASE=2]
	scripts/rpm

.PHONY: srpm
srpm: $(if $(VENDOR),vendor-check) ## build source RPMs with all crates, which build offline, in target/rpm [SIGN=KEY]
	scripts/srpm

.PHONY: install
install: ## install what make build has built, with man pages and units [DESTDIR=] [PREFIX=/usr/local] [PACKAGES=els-register]
	AGENT=$(agent) BACKEND=$(backend) scripts/install install $(PACKAGES)

.PHONY: uninstall
uninstall: ## remove it again, with the same DESTDIR, PREFIX and PACKAGES
	scripts/install uninstall $(PACKAGES)

.PHONY: generate
generate: ## write the files that are made from the code: man pages, completions, openapi.json, promises.md
	cargo xtask generate

.PHONY: guide
guide: ## build the user's guide in English and Japanese, as a site and as PDF, in build/guide
	scripts/install-dependencies guide
	scripts/guide

.PHONY: demo
demo: ## show everything on this machine, in a temporary folder: a key, a seat, dnf through the gate, a moved seat
	scripts/install-dependencies demo
	scripts/demo.sh

.PHONY: test
test: deps ## run everything that CI runs; missing packages are installed first
	scripts/provisioning-tools
	$(MAKE) --no-print-directory lint
	ELS_RELEASE_AGENT=$$(scripts/portable-build els-register) cargo test --workspace --locked
	scripts/schemathesis
	scripts/fuzz 10

.PHONY: fuzz
fuzz: deps ## run the fuzz targets, SECONDS_EACH=60 (TARGETS="agent-answer …": only those)
	scripts/fuzz $(or $(SECONDS_EACH),60) $(TARGETS)

.PHONY: audit
audit: deps ## list known vulnerabilities of the dependencies; offline with ADVISORY_DB=DIR, the RustSec database in a folder
	scripts/deny advisories

.PHONY: soak
soak: deps ## run the full sweeps whose figures are in docs/developer/reliability.md; takes hours
	ELS_SOAK=1 cargo test --locked -p els-register --test suite crash_sweep -- --nocapture
	ELS_SOAK=1 cargo test --locked -p els-backend --test suite -- crash_ linear_ hostile_ --nocapture --test-threads=1
	ELS_SOAK=1 cargo test --locked -p els-register --test suite hostile_ -- --nocapture
	scripts/schemathesis 500
	scripts/fuzz 600

.PHONY: bench
bench: ## measure every figure of docs/developer/benchmarks.md and its reference; takes 25 minutes (OPTIONS='--only gate --runs 1')
	scripts/install-dependencies bench
	cargo build --release --locked -p els-register
	cargo build --profile server --locked -p els-backend --bins --example one_by_one
	bench/run.py $(OPTIONS)

.PHONY: lint
lint: ## check formatting, clippy, shellcheck, generated files, Japanese, dependencies, the units and the Ansible role
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck --exclude=SC2016,SC2174 $(scripts)
	cargo xtask check
	scripts/lint-ja
	scripts/deny
	scripts/units-check
	ANSIBLE_ROLES_PATH=dist/ansible/roles ansible-lint --offline -q dist/ansible/roles/els_register dist/examples/playbook.yml

.PHONY: deps
deps: ## install the missing Debian packages that the tests need
	scripts/install-dependencies test

.PHONY: vendor-check
vendor-check: ## check a vendor's folder before it is built in (VENDOR=DIR)
	@$(if $(VENDOR),,echo 'usage: make vendor-check VENDOR=DIR' >&2; exit 2)
	@# xtask itself is built with the shipped files: a folder with faults must be listed, not break the build.
	@env -u ELS_VENDOR_DIR cargo xtask vendor-check $(ELS_VENDOR_DIR)

.PHONY: clean
clean: ## remove everything that was built
	cargo clean
