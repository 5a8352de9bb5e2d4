# `make help` lists what there is. Go, git, make and bash are all it needs: other tools are built on demand, at the
# versions below, into the user's cache folder (see hack/tool.sh and hack/controlplane/assets.sh).

CONTROLLER_GEN_VERSION ?= v0.23.0
GOLANGCI_LINT_VERSION  ?= v2.15.0
HELM_VERSION           ?= v4.3.1

# The version that `keyturn --version` prints, in a build from a clone.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# How much `make fuzz` spends on each target: executions, or a duration such as 1m. Go's fuzzer now and then reports the
# end of a duration itself as a failure (context deadline exceeded, and no failing input), so the default is a number.
FUZZTIME ?= 50000x
# The image that `make image` makes and `make install-manifest` puts in, and its architecture (this machine's if empty).
IMAGE ?= keyturn:latest
ARCH  ?=
# What the image is of, if not the operator: signer or e2e-client.
PROGRAM ?=
# How `make e2e` brings an image to the nodes: a command that is given the path of its archive, such as
# 'kind load image-archive'. What runs a program where the API server can be reached, if that is not here. And further
# flags of the suite, such as E2E_FLAGS='-test.run TestEndToEnd/Install -keep'. KUBECONFIG says which cluster.
E2E_LOAD  ?=
E2E_RUN   ?=
E2E_FLAGS ?=
# Flags of `make bench` in place of -out: -rooms=gateway to print a part of the table, -rounds=3, -short.
BENCHFLAGS ?= -out=$(CURDIR)/docs/benchmarks.md
# Arguments for go test, such as GOTESTFLAGS='-run TestRefused -v'; and the packages.
GOTESTFLAGS ?=
PKG         ?= ./...

# Recursive variables: each runs only in the recipes that use it, and only there builds what is missing.
controller_gen = $$(hack/tool.sh sigs.k8s.io/controller-tools/cmd/controller-gen $(CONTROLLER_GEN_VERSION))
golangci_lint  = $$(hack/tool.sh github.com/golangci/golangci-lint/v2/cmd/golangci-lint $(GOLANGCI_LINT_VERSION))
helm           = $$(hack/tool.sh helm.sh/helm/v4/cmd/helm $(HELM_VERSION))
assets         = $$(hack/controlplane/assets.sh)

# The packages without Kubernetes and HTTP, whose code many goroutines share.
domain_packages = ./internal/keyring/... ./internal/token/... ./internal/revocation/... ./internal/issuers/... \
	./internal/session/...
generated = api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml charts/keyturn/files/crds \
	charts/keyturn/files/rbac docs/api.md
# The modules besides the operator's own: what is built from them must not become a dependency of the operator. The
# first only builds programs of others.
own_modules = hack/image test/bench
modules     = hack/controlplane $(own_modules)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

##@ Try it
.PHONY: demo run
demo: ## Start a control plane and Keyturn on this machine, rotate and revoke before your eyes, and stop
	@assets="$(assets)"; go build -o bin/demo ./hack/demo; KUBEBUILDER_ASSETS="$$assets" exec bin/demo
run: ## The same, and stay, to be used with kubectl and curl
	@assets="$(assets)"; go build -o bin/demo ./hack/demo; KUBEBUILDER_ASSETS="$$assets" exec bin/demo -stay

##@ Test
.PHONY: test test-short test-race test-modules e2e fuzz bench
test: ## All tests, with a real kube-apiserver and etcd (PKG=./test/api GOTESTFLAGS='-run TestRefused -v' to choose)
	@assets="$(assets)"; KUBEBUILDER_ASSETS="$$assets" go test $(GOTESTFLAGS) $(PKG)
test-short: ## The tests that need no control plane
	@go test -short $(GOTESTFLAGS) $$(go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' $(PKG) | sed '\|/internal/testenv[] /]|d; s/ .*//')
test-race: ## The tests of the domain packages with the race detector (needs a C compiler)
	@assets="$(assets)"; KUBEBUILDER_ASSETS="$$assets" CGO_ENABLED=1 go test -race $(GOTESTFLAGS) $(domain_packages)
test-modules: ## The tests of the modules besides the operator's: what makes the image, and the benchmarks' table
	@for module in $(own_modules); do (cd $$module && go vet ./... && go test $(GOTESTFLAGS) ./...); done
e2e: ## The end-to-end suite on the cluster of KUBECONFIG (E2E_LOAD='kind load image-archive'); see test/e2e/doc.go
	@[ -n "$(E2E_LOAD)" ] || { echo "set E2E_LOAD to what brings an image's archive to the nodes: E2E_LOAD='kind load image-archive'"; exit 1; }
	@cd hack/image && go build -o ../../bin/image .
	@bin/image -tag keyturn:e2e -version e2e -out dist/keyturn-e2e-operator.tar $(if $(ARCH),-arch $(ARCH))
	@bin/image -program e2e-client -tag keyturn-e2e:e2e -version e2e -out dist/keyturn-e2e-client.tar $(if $(ARCH),-arch $(ARCH))
	@$(E2E_LOAD) "$(CURDIR)/dist/keyturn-e2e-operator.tar"
	@$(E2E_LOAD) "$(CURDIR)/dist/keyturn-e2e-client.tar"
	@helm="$(helm)"; go test -c -o bin/e2e.test ./test/e2e; $(E2E_RUN) "$(CURDIR)/bin/e2e.test" -test.v -test.timeout 30m \
	-operator-image keyturn:e2e -client-image keyturn-e2e:e2e -chart "$(CURDIR)/charts/keyturn" -helm "$$helm" $(E2E_FLAGS)
fuzz: ## Every fuzz target for a while (FUZZTIME=50000x, or 1m)
	@hack/fuzz.sh $(FUZZTIME)
bench: ## Every benchmark, as a table with its targets, into docs/benchmarks.md (BENCHFLAGS='-rooms=gateway' to choose)
	@assets="$(assets)"; cd test/bench; go build -o ../../bin/bench .; KUBEBUILDER_ASSETS="$$assets" ../../bin/bench $(BENCHFLAGS)

##@ Check
.PHONY: lint fmt vet tidy verify verify-generated verify-format verify-tidy verify-config verify-chart
lint: ## golangci-lint, with .golangci.yml
	@lint="$(golangci_lint)"; "$$lint" run ./...; for module in $(own_modules); do (cd $$module && "$$lint" run ./...); done
vet: ## go vet
	@go vet ./...
fmt: ## Format the Go files
	@lint="$(golangci_lint)"; "$$lint" fmt ./...
tidy: ## go mod tidy, in all modules
	@go mod tidy
	@for module in $(modules); do (cd $$module && go mod tidy); done
verify: verify-format verify-generated verify-tidy verify-config vet lint ## Everything that needs no test run
verify-format: ## Fail where gofmt -s would change a file
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -s -l); \
	[ -z "$$files" ] || { printf 'not formatted; run `make fmt`:\n%s\n' "$$files"; exit 1; }
verify-generated: generate manifests chart docs ## Generate anew, and fail where that changed a file
	@changed=$$(git status --porcelain -- $(generated)); [ -z "$$changed" ] || { git --no-pager diff -- $(generated); \
	printf 'generated files were not current; they are now: review and commit them\n%s\n' "$$changed"; exit 1; }
verify-tidy: ## Fail where go mod tidy would change a module, or where a module's content is not what go.sum says
	@go mod tidy -diff || { echo 'go.mod is not tidy; run `make tidy`'; exit 1; }
	@for module in $(modules); do (cd $$module && go mod tidy -diff) || \
	{ echo "$$module/go.mod is not tidy; run \`make tidy\`"; exit 1; }; done
	@go mod verify
verify-config: ## Fail where a kustomization does not build
	@assets="$(assets)"; for folder in config/default config/overlays/* config/samples; do \
	"$$assets/kubectl" kustomize $$folder >/dev/null || { echo "kustomize cannot build $$folder"; exit 1; }; done
verify-chart: ## helm lint, with all values of test/charts, and the tests of the chart
	@helm="$(helm)"; for values in test/charts/testdata/values/*.yaml; do \
	"$$helm" lint --strict --quiet charts/keyturn --values $$values || exit 1; done
	@assets="$(assets)"; KEYTURN_HELM="$(helm)" KUBEBUILDER_ASSETS="$$assets" go test $(GOTESTFLAGS) ./test/charts ./hack/chart

##@ Make
.PHONY: build generate manifests chart docs image install-manifest assets helm clean
build: ## bin/keyturn
	@go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/keyturn ./cmd/keyturn
generate: ## DeepCopy methods, from the API types
	@gen="$(controller_gen)"; "$$gen" object paths=./api/...
manifests: ## Custom resources from the API types, and the operator's ClusterRole from the +kubebuilder:rbac markers
	@gen="$(controller_gen)"; "$$gen" crd paths=./api/... output:crd:dir=config/crd/bases
	@gen="$(controller_gen)"; "$$gen" rbac:roleName=manager-role paths="./controllers/...;./internal/...;./cmd/..." output:rbac:dir=config/rbac
chart: ## What charts/keyturn takes from config: the custom resources, and the rules of its roles
	@go run ./hack/chart
docs: ## docs/api.md, from the custom resources and the constants of the API
	@go run ./hack/docs
image: ## dist/keyturn-image.tar, for docker load (IMAGE=registry/keyturn:v1 ARCH=arm64 to choose); PROGRAM=signer for the example
	@cd hack/image && go build -o ../../bin/image .
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
	bin/image -tag $(IMAGE) -version $(VERSION) $(if $(ARCH),-arch $(ARCH)) \
	$(if $(PROGRAM),-program $(PROGRAM) -out dist/$(PROGRAM)-image.tar)
install-manifest: ## dist/install.yaml, for kubectl apply (IMAGE=registry/keyturn:v1 to choose the image)
	@mkdir -p dist; assets="$(assets)"; hack/install-manifest.sh "$$assets/kubectl" $(IMAGE) >dist/install.yaml
assets: ## Get kube-apiserver, etcd and kubectl, and print their folder
	@hack/controlplane/assets.sh
helm: ## Get Helm, and print its path
	@echo "$(helm)"
clean: ## Remove what this clone built; the cache folder stays
	@rm -rf bin dist

##@ Help
.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {sub(/:.*/, "", $$1); printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
