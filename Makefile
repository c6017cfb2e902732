# What one does with this repository. `make help` lists it.

GO ?= go
# Inputs rather than seconds: the end of its time fails a fuzz test whose input is still running.
FUZZTIME ?= 10000x
BENCHFLAGS ?=

.PHONY: build test golden lint bench fuzz help

build: ## build bin/sbxrun
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/sbxrun ./cmd/sbxrun

test: ## run all tests
	$(GO) test ./...

golden: ## run the tests that compare with golden files, and write what came out into them
	$(GO) test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

lint: bin/golangci-lint ## check format and style, and look for defects
	bin/golangci-lint run ./...

bench: ## measure the time budgets, each beside its other side; BENCHFLAGS=-strict fails on a missed one
	$(GO) run ./internal/bench $(BENCHFLAGS)

fuzz: ## run every fuzz test for FUZZTIME (10000x: so many inputs)
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$name in $$(dirname $$file)"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$(dirname $$file); \
		done; \
	done

help: ## list what make can do here
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

# The linter is pinned in tools/, a module of its own, so that its dependencies are none of sbxrun's.
bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
