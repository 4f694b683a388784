# Two commands do everything on a fresh Debian or Ubuntu machine with Swift: `make demo` and `make test`.
SWIFT ?= swift
# One configuration for demo and tests, so that nothing is built twice: release, with internals open to tests. The check
# refuses imports that Package.swift does not declare.
FLAGS := -c release -Xswiftc -enable-testing --explicit-target-dependency-import-check error
QUANTIZE := .build/release/quantize

.PHONY: demo test bench lint build deps docs cross clean

demo: build
	$(QUANTIZE) demo

test: deps
	$(SWIFT) build $(FLAGS) --build-tests
	$(SWIFT) test $(FLAGS) --skip-build --parallel

bench: build
	$(QUANTIZE) bench

build: deps
	$(SWIFT) build $(FLAGS) --product quantize

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests calibration

# The NEON kernels, cross-compiled and run under qemu against the portable twin; says what is missing.
cross:
	Tests/CKernelsCross/run.sh

# DocC pages of the library floors, in .build/docs.
docs: deps
	Benchmarks/docs.sh

# Installs libzstd-dev and libopenblas-dev where they are missing, with sudo if need be.
deps:
	@dpkg -s libzstd-dev libopenblas-dev >/dev/null 2>&1 || { \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing libzstd-dev and libopenblas-dev"; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libzstd-dev libopenblas-dev >/dev/null; }

clean:
	rm -rf .build demo
