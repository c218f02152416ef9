# The words of this house; `make help` lists them.
PREFIX := .build/swiftlet
.PHONY: help setup build run demo test test-vm fuzz check attack cycles bench sbom fmt clean

help: ## list these words
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/'

setup: ## install packages, build engines, fetch models: once, into .deps
	@scripts/setup

build: setup ## build the host, the zygote, the SDK and the backends into .build/swiftlet
	@scripts/build $(PREFIX)

demo: build ## start a host, deploy the examples, call them, watch everything go to sleep
	@scripts/demo $(PREFIX)

run: build ## start a host with the examples on 127.0.0.1:8080 and leave it running
	@scripts/demo $(PREFIX) --stay

test: build ## run everything that proves something
	@scripts/test $(PREFIX)

fuzz: ## fuzz every parser of what strangers send, 75 s each; SECONDS_EACH changes that
	@scripts/fuzz

test-vm: ## run the sandbox tests on Debian's kernel with control groups v2, in QEMU
	@scripts/test-vm

check: build ## layers, format, and the fast tests
	@scripts/check $(PREFIX)

attack: build ## every hostile act beside a neighbour, and again with each layer of the sandbox off; 10,000 invocations
	@scripts/attack $(PREFIX) --layers --invocations 10000

cycles: build ## load and unload models 1,000 times, and compare what the host holds before and after
	@python3 Tests/IntegrationTests/cycles.py $(PREFIX) 1000

bench: build ## measure against baselines; ONLY=cold runs a part
	@Bench/run.py $(PREFIX) $(ONLY)

sbom: build ## write what Swiftlet consists of to .build/sbom.cdx.json, as CycloneDX
	@scripts/sbom $(PREFIX) .build/sbom.cdx.json

fmt: ## put the Swift sources into the house format
	@scripts/format

clean: ## remove what was built; .deps stays
	@rm -rf .build
