# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

LINT        := .ci/golangci-lint
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

PKG       ?= ./...
FUZZTIME  ?= 60s
BENCH     ?= .
BENCHARGS ?= -benchmem -count=6
REF       ?= HEAD

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: ## Everything a change must pass: exactly what CI runs
	.ci/run

.PHONY: test
test: ## All tests with the race detector, in random order (PKG=./streams/... for some)
	go test -race -shuffle=on $(PKG)

.PHONY: test-integration
test-integration: ## The promises, each against a real server
	go test -count=1 ./test/integration/...

.PHONY: fmt
fmt: ## Format the code (gofumpt, import groups)
	$(LINT) fmt

.PHONY: tidy
tidy: ## Tidy go.mod and go.sum
	go mod tidy

.PHONY: vet
vet: ## go vet alone; lint holds it too
	go vet ./...

.PHONY: lint
lint: ## The pinned golangci-lint (the first run builds it: some minutes)
	$(LINT) run

.PHONY: fuzz
fuzz: ## Every fuzz test for FUZZTIME (60s)
	@{ grep -rE --include='*_test.go' --exclude-dir=testdata '^func Fuzz[A-Za-z0-9_]*\(' . || true; } | \
	sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' | sort -u | \
	while read -r dir name; do \
		echo "$$dir $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir"; \
	done

.PHONY: bench
bench: ## Benchmarks (BENCH=regexp, PKG=packages, BENCHARGS=flags)
	go test -run '^$$' -bench '$(BENCH)' $(BENCHARGS) $(PKG)

.PHONY: bench-compare
bench-compare: ## Benchmarks of the tree against those of REF=commit, by benchstat
	rm -rf .bench && mkdir -p .bench/ref
	git archive '$(REF)' | tar -x -C .bench/ref
	cd .bench/ref && go test -run '^$$' -bench '$(BENCH)' $(BENCHARGS) $(PKG) > ../ref.txt
	go test -run '^$$' -bench '$(BENCH)' $(BENCHARGS) $(PKG) > .bench/tree.txt
	go run $(BENCHSTAT) .bench/ref.txt .bench/tree.txt

.PHONY: cover
cover: ## Test coverage of the module: total, and coverage.html
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -n 1

.PHONY: vuln
vuln: ## Known vulnerabilities that the code reaches (asks vuln.go.dev)
	go run $(GOVULNCHECK) ./...

.PHONY: demo
demo: ## The order cluster: server and three nodes in one process
	go run ./cmd/demo

.PHONY: hooks
hooks: ## Check format, vet and unit tests before each commit
	git config core.hooksPath .githooks
