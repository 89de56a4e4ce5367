# The only entry: every need of a person or of CI is a target here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TOOLS := $(CURDIR)/target/tools
DENY_VERSION := 0.20.2
BINS := adit-proxy adit-node-agent adit-cni adit-control sample-app adit-demo adit-meter

.PHONY: help demo test check bench gen fmt prerequisites clean-lab

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

prerequisites: ## install what the demo and the tests need from the system, saying so
	@./tests/prerequisites.sh

demo: prerequisites ## the whole story on this machine: two nodes, the mesh, a policy (KEEP=1 leaves it up)
	$(CARGO) build --locked --profile quick-release --workspace --bins
	target/quick-release/adit-demo $(if $(KEEP),--keep)

test: prerequisites ## every test that needs no cluster
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace

check: $(TOOLS)/bin/cargo-deny ## format, lints, docs, licences, bans, sources
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error check bans licenses sources

bench: prerequisites ## CPU per GiB and per request through the mesh, beside direct TCP in the same run
	$(CARGO) build --locked --profile quick-release --workspace --bins
	target/quick-release/adit-meter

gen: ## write the generated protobuf code anew
	ADIT_REGENERATE=1 $(CARGO) test --locked -p tests --test tidy -- generated

fmt: ## format
	$(CARGO) fmt --all

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --root $(TOOLS) --quiet
