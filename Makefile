# make help

CARGO ?= cargo
PYTHON ?= python3

# What bench-peers compares.
CONFIGS ?= grid small
MODES ?= train_step imagine_train imagine observe
THREADS ?= 2
ROUNDS ?= 3

.PHONY: help test nvrtc emulator lint probes lines bench-peers

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

test: nvrtc emulator ## all tests; lists what was skipped, and why
	@mkdir -p target
	@bash -c 'set -o pipefail; $(CARGO) test --locked --workspace -- --show-output 2>&1 | tee target/test.log'
	@echo
	@grep -h '^skipped' target/test.log | sort -u || echo 'no test was skipped'

nvrtc: ## fetches NVRTC, which compiles the CUDA kernels, into target/nvrtc
	@scripts/fetch_nvrtc.sh

emulator: ## builds the CUDA driver for machines without a GPU
	$(CARGO) build --locked -p dreamer-fast-emulator

lint: ## format, clippy and rustdoc; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

probes: ## trains on tiny worlds with known answers, five seeds each; return and value must be right
	$(CARGO) run --locked --release -- probes

bench-peers: ## compares with PyTorch and JAX on this machine (CONFIGS, MODES, THREADS, ROUNDS)
	$(PYTHON) benches/peers/run.py --setup
	$(CARGO) build --locked --release
	$(PYTHON) benches/peers/run.py --configs $(CONFIGS) --modes $(MODES) --threads $(THREADS) --rounds $(ROUNDS)

lines: ## lines of code, by floor
	@for folder in src/* kernels emulator tests benches scripts docs; do \
		[ -e "$$folder" ] || continue; \
		find "$$folder" -type f \( -name '*.rs' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py' -o -name '*.md' \) -print0 \
			| xargs -0 -r cat | wc -l | awk -v name="$$folder" '{ printf "%7d %s\n", $$1, name }'; \
	done
	@find src -name '*.rs' -print0 | xargs -0 cat | wc -l | awk '{ printf "%7d src in all\n", $$1 }'
