# SPDX-License-Identifier: GPL-2.0
#
# The everyday commands. What they need is installed by `make setup`, which the others call too.

# release, dev, asan, tsan or fuzz: see CMakePresets.json.
PRESET ?= release
JOBS ?= $(shell nproc)
build := $(if $(filter release,$(PRESET)),build,build-$(PRESET))

# The library kernel's folder. $$LKM_RUN_IMAGE names another one than the default.
image = image=$${LKM_RUN_IMAGE:-$$(Kbuild/kernel --jobs $(JOBS))} && [ -n "$$image" ] && export LKM_RUN_IMAGE="$$image"

# The default one again, with all of it elsewhere.
rebuilt_kernel = tests/rebuilt-kernel --jobs $(JOBS)
# Half of the default one, to keep a first `make check` short.
llvm_kernel = Kbuild/kernel --llvm --only "base net trace" --jobs $(JOBS)
# With the kernel's own checks, which find what a swap gets wrong: of timers and work by their addresses, of memory, of
# references to devices. What measures growth and time says nothing there.
debug_kernel = Kbuild/kernel --fragments debug --jobs $(JOBS)
debug_tests = ^(A(Swap|Renewal|Ledger)\.|OfAKind/|HostTest\.Renews|Modules\.|InTree\.|Pi2\.|Telex|Flowmeter\.|Delayline\.)
not_debug_tests = AThousand|Growth
compile = cmake --preset $(PRESET) && cmake --build --preset $(PRESET) --parallel $(JOBS)

.PHONY: help setup setup-run build kernel kernel-rebuilt kernel-llvm kernel-debug demo check check-debug lint bench format clean

help: ## this text
	@echo "lkm-run: the Linux network stack as a library, with modules that are swapped while they run"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo "  PRESET=dev      another preset of CMakePresets.json (make build, make check)"
	@echo "  JOBS=1          fewer parallel jobs than CPUs"

setup: ## install the Debian packages that are missing
	@scripts/setup

setup-run:
	@scripts/setup --run

build: setup ## build lkm-run and its tests
	@$(compile)

kernel: setup-run ## make the library kernel, unless it is in the cache
	@Kbuild/kernel --jobs $(JOBS)

kernel-llvm: setup-run ## a smaller one by clang and lld, for the tests
	@$(llvm_kernel)

demo: kernel ## the whole story in a minute: edit a module under live connections
	@$(compile) --target lkm-run
	@$(image) && LKM_RUN="$(CURDIR)/$(build)/tools/lkm-run/lkm-run" examples/demo/run

kernel-rebuilt: setup-run ## the default one once more, with all of it at other addresses, for the tests
	@$(rebuilt_kernel)

check: build kernel kernel-rebuilt kernel-llvm lint ## all tests
	@$(image) && LKM_RUN_LLVM_IMAGE=$$($(llvm_kernel)) LKM_RUN_REBUILT_IMAGE=$$($(rebuilt_kernel)) ctest --preset $(PRESET) --parallel $(JOBS)

kernel-debug: setup-run ## the default one with the kernel's own checks
	@$(debug_kernel)

check-debug: build kernel-debug ## the tests of swaps on it: some minutes
	@LKM_RUN_IMAGE=$$($(debug_kernel)) && [ -n "$$LKM_RUN_IMAGE" ] && export LKM_RUN_IMAGE && \
		ctest --preset $(PRESET) --parallel $(JOBS) -R '$(debug_tests)' -E '$(not_debug_tests)'

lint: setup
	@scripts/lint

bench: build kernel ## ratios against the host's own kernel
	@$(image) && LKM_BUILD="$(CURDIR)/$(build)" bench/run

format: ## clang-format over the C++ sources
	@find toolkit fuse-proc libos-runtime/host tools tests bench examples \
		-name '*.cpp' -o -name '*.hpp' | xargs clang-format -i

clean: ## remove what was built; the kernel stays in its cache
	rm -rf build build-*
