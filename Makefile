# Every command that a person types. `make` alone lists them.

# One target folder for functions and tests: cargo-lambda always builds for a named target.
export CARGO_BUILD_TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')

PROFILE ?= dev
PYTHON := .venv/bin/python
TOOLS := .venv/ready

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# So that a test can restart the emulator.
export CONDUCTOR_PERSIST ?= 1
export BEGAN ?= $(shell date +%s)
say = @echo "[$$(( $$(date +%s) - $(BEGAN) )) s]"

.DEFAULT_GOAL := help
.PHONY: help demo up up-faults down deploy redrive test test-all bench bench-all sim check functions package tools

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## the whole story on this machine, from nothing
	@echo "This installs pinned Python tools into .venv, builds the functions, starts an AWS emulator on 127.0.0.1,"
	@echo "deploys the stack into it, packs terraform and the AWS provider, publishes the resource templates, and plays"
	@echo "four days of two teams that share a table. The first time it takes up to 12 minutes on 2 cores (mostly"
	@echo "compiling) and about 5 GB in this folder; later 3 minutes. The stack stays up; \`make down\` stops it."
	@$(MAKE) --no-print-directory up
	$(say) "the story"
	@$(PYTHON) -m infra.local.demo

up: functions ## the stack on this machine; again after a change: rebuilt and redeployed
	$(say) "emulator, sam deploy"
	@$(PYTHON) -m infra.local.deploy --local
	@$(MAKE) --no-print-directory furnish WHERE=--local
	$(say) "up: .local/stack.json says where"

down: ## stops the stack, leaves no process behind
	@python3 -m infra.local.emulator stop

deploy: PROFILE = release
deploy: functions ## the same steps into the AWS account of your credentials
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

# What a stack is given once it stands.
.PHONY: furnish
furnish:
	$(say) "toolchain"
	@$(PYTHON) -m infra.toolchain.publish $(WHERE)
	$(say) "resource templates, first environment"
	@$(PYTHON) -m infra.local.seed $(WHERE)

# On this machine the functions run on its own libc; Lambda's is older, so for AWS cargo-lambda links through zig.
functions: BUILD = $(if $(filter dev,$(PROFILE)),--compiler cargo --profile dev,--release)
functions: $(TOOLS) ## target/lambda/*/bootstrap, with PROFILE=dev or release
	$(say) "functions ($(PROFILE))"
	@cargo-lambda lambda build --locked --workspace $(BUILD)
	@for f in api provisioner sweeper; do test -x target/lambda/$$f/bootstrap || { echo "target/lambda/$$f/bootstrap was not built"; exit 1; }; done

package: PROFILE = release
package: functions ## target/conductor.tar.gz: template and release functions, ready for `sam deploy`
	@tar -czf target/conductor.tar.gz template.yaml samconfig.toml infra/target-account.yaml target/lambda

test: $(TOOLS) ## all tests; brings the stack up for them and leaves it as found
	@python3 -m infra.local.emulator status && found=up || found=down; \
	$(MAKE) --no-print-directory up-faults test-all; result=$$?; \
	[ $$found = up ] || $(MAKE) --no-print-directory down || result=1; \
	exit $$result

test-all:
	$(say) "Rust tests"
	@cargo nextest run --workspace
	$(say) "simulation"
	@cargo nextest run --cargo-profile sim --profile simulation -p conductor-simulation --features mutants --no-capture
	$(say) "faults"
	@cargo nextest run --workspace --profile faults
	$(say) "templates, infrastructure, sam local invoke"
	@$(PYTHON) -m pytest -q -rs tests infra

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

check: $(TOOLS) ## formats, lints, documentation, licences, the stack's template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p conductor-simulation --features mutants --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo deny --log-level error check bans licenses sources
	cfn-lint template.yaml infra/target-account.yaml
	SAM_CLI_TELEMETRY=0 sam validate --lint --region us-east-1 --template template.yaml

tools: $(TOOLS)

$(TOOLS): infra/local/requirements.txt
	$(say) "Python tools into .venv (about 900 MB)"
	@python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
