# What one does with this repository. `make help` lists it.

GO ?= go
# Inputs rather than seconds: the end of its time fails a fuzz test whose input is still running.
FUZZTIME ?= 10000x
BENCHFLAGS ?=
# Flags of the end-to-end tests, such as -test.run TestFaults -test.v
E2EFLAGS ?=

.PHONY: build test golden lint bench bench-cluster fuzz cluster-up cluster-down e2e help

build: ## build bin/sbxrun
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/sbxrun ./cmd/sbxrun

test: ## run all tests
	$(GO) test -timeout 30m ./...

golden: ## run the tests that compare with golden files, and write what came out into them
	$(GO) test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

lint: bin/golangci-lint ## check format and style, and look for defects
	bin/golangci-lint run --build-tags e2e ./...
	cd test/cluster && ../../bin/golangci-lint run ./...
	cd test/bench && ../../bin/golangci-lint run ./...

bench: ## measure the time budgets, each beside its other side; BENCHFLAGS=-strict fails on a missed one
	$(GO) run ./internal/bench $(BENCHFLAGS)

# Medians of one run are of no use while other tests keep the machine busy.
bench-cluster: bin/cluster ## measure the Kubernetes provider beside Agent Sandbox's own client, in the cluster of cluster-up
	cd test/bench && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/cluster-bench .
	bin/cluster exec sh -c 'bin/cluster-bench -pool python-sandbox-warmpool -audit "$$SBXRUN_CLUSTER_STATE/audit.log" $(BENCHFLAGS)'

fuzz: ## run every fuzz test for FUZZTIME (10000x: so many inputs)
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$name in $$(dirname $$file)"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$(dirname $$file); \
		done; \
	done

cluster-up: bin/cluster ## start a real Kubernetes with Agent Sandbox on this machine, as root; nothing to do where it is up
	cd test/cluster && ../../bin/cluster up

cluster-down: bin/cluster ## end it; what was built for it stays in the cache
	bin/cluster down

e2e: build bin/cluster ## run the end-to-end tests in the cluster of cluster-up, or in the one that KUBECONFIG names
	CGO_ENABLED=0 $(GO) test -c -tags e2e -trimpath -ldflags='-s -w' -o bin/e2e.test ./test/e2e
	cd test/e2e && export SBXRUN_BINARY=../../bin/sbxrun && \
	if [ -n "$$KUBECONFIG" ]; then ../../bin/e2e.test -test.timeout 90m -test.parallel 3 -test.skip '^TestOwn' $(E2EFLAGS); \
	else ../../bin/cluster exec ../../bin/e2e.test -test.timeout 90m -test.parallel 3 $(E2EFLAGS); fi

help: ## list what make can do here
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# The linter is pinned in tools/, a module of its own, so that its dependencies are none of sbxrun's.
bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/cluster: $(wildcard test/cluster/*.go test/cluster/conf/* test/cluster/manifests/*) test/cluster/go.mod
	cd test/cluster && CGO_ENABLED=0 $(GO) build -trimpath -o ../../$@ .
