# Sightline's targets. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# No clock is believed that shows less than when the source was committed.
BUILT := $(shell git log -1 --format=%cI 2>/dev/null)
# Version and date are given here, so Go need not ask git, which refuses in a clone of another owner.
BUILD := -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION) -X main.built=$(BUILT)'
FUZZTIME ?= 10s
ARGS ?=
ONLY ?=

# sightline-capture needs GStreamer and FFmpeg's libraries, sightline-capture-opencv
# OpenCV as well. The tags and the environment with which gocv builds against Debian's
# split OpenCV packages; .ci/setup writes the .pc file.
GOCV_TAGS := gocv gocv_specific_modules gocv_videoio
GOCV_ENV := PKG_CONFIG_PATH=$(CURDIR)/build/pc$(if $(PKG_CONFIG_PATH),:$(PKG_CONFIG_PATH)) CGO_ENABLED=1
MEDIA := $(shell command -v gcc >/dev/null && command -v pkg-config >/dev/null && \
	pkg-config --exists gstreamer-app-1.0 gstreamer-video-1.0 libavformat libavcodec libavutil libswscale && echo yes)
GOCV_PACKAGES := $(patsubst %,./%,$(wildcard vision/capture cmd/sightline-capture))
OPENCV := $(if $(MEDIA),$(shell command -v g++ >/dev/null && ls /usr/include/opencv4/opencv2/videoio.hpp 2>/dev/null))

# go-nvml's functions are bound when they are called, from the driver's own
# library; a linker that binds all at the start, as Ubuntu's does, must be told.
NVML_ENV := CGO_ENABLED=1 CGO_LDFLAGS='-O2 -g -Wl,-z,lazy' CGO_CFLAGS='-O2 -g -Wno-deprecated-declarations'

# What the programs and the tests read; a value from outside wins.
export SIGHTLINE_CACHE ?= $(CURDIR)/build/cache
export SIGHTLINE_ONNXRUNTIME ?= $(CURDIR)/bin/libonnxruntime.so.1
export SIGHTLINE_BIN ?= $(CURDIR)/bin
ifneq ($(wildcard ../shared/data),)
export SIGHTLINE_REALDATA ?= $(abspath ../shared/data)
endif

SOURCES := $(shell find agent board cmd fleet internal sync updater vision -type f \
	-not -name '*_test.go' -not -path '*/testdata/*' -not -path '*/__pycache__/*' 2>/dev/null)
BINARIES := bin/sightline-agent bin/sightline bin/sightline-fleet $(if $(MEDIA),bin/sightline-capture) $(if $(OPENCV),bin/sightline-capture-opencv)

.PHONY: help setup build demo test check bench faults fuzz fmt clean fetch tested checked

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the tests need (Debian packages: root or sudo), fetch the pinned rest
	@.ci/setup all

build: fetch $(BINARIES) ## build the programs into bin/ (sightline-capture where FFmpeg and GStreamer are)
	@$(if $(MEDIA),:,echo "sightline-capture was left out: it needs FFmpeg's libraries and GStreamer (make setup); pictures and MJPEG work without it")
	@$(if $(OPENCV),:,echo "sightline-capture-opencv was left out: it needs OpenCV as well; all but V4L2 devices work without it")

demo: export TMPDIR := $(CURDIR)/build/tmp
demo: build ## inspect drawn parts, shown in the browser; no root; ARGS="--seconds 30"
	@bin/sightline demo $(ARGS)

# The second make sees the OpenCV that setup may just have installed.
test: setup ## run every test, with the built programs and OpenCV; 5 to 14 minutes on two cores
	@$(MAKE) --no-print-directory tested

# What must come in time is tested one package after the other: cameras, in the build
# with OpenCV, which has the same tests and more (the program itself is tested in both
# builds), then agents and devices. They leave one of two cores idle, on which all else
# goes on beside them, behind a model's own threads, whose nice value is 5; demos, which
# watch belts, come last there.
REALTIME := ./agent ./cmd/sightline-agent ./cmd/e2e

tested: build
	@trap 'trap - INT; kill 0' INT; \
	result=0; cameras='$(and $(MEDIA),$(GOCV_PACKAGES))'; \
	rest=$$(go list ./... | grep -v -E "/(agent|cmd/e2e|cmd/sightline|cmd/sightline-agent$${cameras:+|vision/capture|cmd/sightline-capture})\$$"); \
	( nice -n 10 go test -vet=off -p $$(nproc) $$rest || result=1; go test -vet=off ./cmd/sightline || result=1; \
		$(NVML_ENV) go test -vet=off -tags nvml ./board || result=1; exit $$result ) & beside=$$!; \
	if [ -n "$$cameras" ]; then \
		$(GOCV_ENV) go test -vet=off -tags '$(if $(OPENCV),$(GOCV_TAGS),media)' $(GOCV_PACKAGES) || result=1; \
		CGO_ENABLED=1 go test -vet=off -tags media ./cmd/sightline-capture || result=1; \
	fi; \
	go test -vet=off -p 1 $(REALTIME) || result=1; \
	wait "$$beside" || result=1; \
	exit $$result

check: setup ## formatting, vet, staticcheck, modules, generated files, scripts, licences, sizes
	@$(MAKE) --no-print-directory checked

checked:
	@$(GOCV_ENV) MEDIA='$(MEDIA)' GOCV_TAGS='$(if $(OPENCV),$(GOCV_TAGS))' GOCV_PACKAGES='$(GOCV_PACKAGES)' .ci/check

bench: build ## measure, print a table, write bench.json; ONLY=P1 runs P1 alone
	@.ci/bench-python
	@go build -buildvcs=false -o build/sightline-bench ./cmd/sightline-bench
	@build/sightline-bench --out bench.json --python build/bench-python/bin/python --only '$(ONLY)'

faults: setup ## kill, cut and fill at the full counts; hours
	@$(MAKE) --no-print-directory build
	SIGHTLINE_FAULTS=full go test -vet=off -count=1 -timeout 12h ./...

fuzz: fetch ## fuzz every door for FUZZTIME each (10s)
	@.ci/fuzz $(FUZZTIME)

fmt: ## format the Go files
	@find . -name '*.go' -not -path './build/*' -not -path './third_party/*' -print0 | xargs -0 gofmt -l -w

clean: ## delete what was built and fetched into the clone
	rm -rf bin build bench.json

fetch:
	@.ci/setup demo

$(BINARIES): | fetch

# Make builds a program when a file is newer than it; Go's own cache does the rest.
bin/sightline-agent: $(SOURCES) go.mod go.sum
	@echo "==> building $@"
	@$(NVML_ENV) go build $(BUILD) -tags nvml -o $@ ./cmd/sightline-agent

bin/sightline: $(SOURCES) go.mod go.sum
	@echo "==> building $@"
	@CGO_ENABLED=0 go build $(BUILD) -o $@ ./cmd/sightline

bin/sightline-fleet: $(SOURCES) go.mod go.sum
	@echo "==> building $@"
	@CGO_ENABLED=0 go build $(BUILD) -o $@ ./cmd/sightline-fleet

bin/sightline-capture: $(SOURCES) go.mod go.sum
	@echo "==> building $@"
	@CGO_ENABLED=1 go build $(BUILD) -tags media -o $@ ./cmd/sightline-capture

bin/sightline-capture-opencv: $(SOURCES) go.mod go.sum
	@echo "==> building $@ (with OpenCV; the first time takes half a minute)"
	@$(GOCV_ENV) go build $(BUILD) -tags '$(GOCV_TAGS)' -o $@ ./cmd/sightline-capture
