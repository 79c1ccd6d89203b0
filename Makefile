# Everything a user or CI calls. Each target sets itself up; what it installs
# or needs is in scripts/.

GO ?= go
# What is embedded counts too.
SOURCES := $(shell find . \( -name '*.go' -o -path './experiments/*.yaml' -o -path './ringcfg/profiles/*' -o -path './reports/html/page/*' \) -not -path './bin/*') go.mod go.sum

.PHONY: all demo check test giouring lint fuzz bench bench-peers bench-lab bench-self bench-uring clean

all: bin/zcbench

# Small, as it is copied to hosts: without symbols, which the stack trace of a panic
# does not need, and without HTTP/2, as meters that speak HTTP speak 1.1 too.
# STRIP= leaves symbols in, for perf and debuggers.
STRIP = -s -w
BUILD = $(GO) build -trimpath -tags nethttpomithttp2 -ldflags='$(STRIP)'

# Static, so that the one file runs on any machine it is copied to.
bin/zcbench: $(SOURCES)
	CGO_ENABLED=0 $(BUILD) -buildvcs=auto -o $@ ./cmd/zcbench

# With the rings of the copying engines and of sendzc on another library, to
# compare. Go links that library only when told not to check.
GIOURING = -tags giouring,nethttpomithttp2 -ldflags='$(STRIP) -checklinkname=0'
giouring: bin/zcbench-giouring
bin/zcbench-giouring: $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto $(GIOURING) -o $@ ./cmd/zcbench

demo: bin/zcbench
	bin/zcbench demo -o demo-results

# The minute before a commit: lint, and quick tests of what differs from main.
check:
	scripts/check

test: bin/zcbench
	scripts/test

lint:
	scripts/lint

# Longer fuzzing of everything a peer or a file can feed us; FUZZTIME for each.
FUZZTIME ?= 1m
fuzz:
	scripts/fuzz $(FUZZTIME)

# In-process benchmarks of the hot loops, with their allocations.
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./rx ./tx ./internal/uring ./internal/procfile ./counters

# zcbench beside iperf3 and netperf on one veth pair, alternately; prints
# ratios and their spread.
bench-peers: bin/zcbench
	scripts/bench-peers

# What sampling beside the payload costs; fails above half a percent of a CPU.
bench-self: bin/zcbench
	$(GO) run ./internal/benchself

# Devmem receivers side by side in the lab's VM; NCDEVMEM=PATH adds the kernel's.
bench-lab: bin/zcbench
	scripts/bench-lab

# The io_uring engines beside liburing's examples, senders here (root) and
# receivers in the lab's VM, and beside themselves on another library for rings.
bench-uring: bin/zcbench bin/zcbench-giouring
	scripts/bench-uring

clean:
	rm -rf bin demo-results

include lab/lab.mk
