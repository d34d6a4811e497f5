# Two commands: `make reproduce` runs every notebook, `make test` runs the tests. Each sets up .venv first, once.
# On conda, activate the environment of environment.yml and pass VENV= to use it as it is.
PROFILE ?= mini
RUN ?=
PHOTOS ?=
NAMES ?=
SET ?=
UNFREEZE ?=
WORKERS ?= 2
VENV ?= .venv
PYTHON ?= python3

BIN := $(if $(VENV),$(VENV)/bin/)
READY := $(if $(VENV),$(VENV)/.ready)

.PHONY: reproduce test numerical lint pins bench name figures lab environment

reproduce: $(READY)
	@$(BIN)python -m bioclip_lib.reproduce --profile "$(PROFILE)" --run "$(RUN)" --photos "$(PHOTOS)" --names "$(NAMES)" \
	  $(if $(UNFREEZE),--unfreeze) --set $(SET)

test: $(READY)
	$(BIN)python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

numerical: $(READY)
	.ci/numerical $(BIN)python

lint: $(READY)
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)lint-imports
	$(BIN)nbstripout --verify --keep-id notebooks/*.ipynb

pins: $(READY)
	.ci/pins $(BIN)uv

bench: $(READY)
	$(BIN)python -m speed

name: $(READY)
	@$(BIN)python -m bioclip_lib.identify $(PHOTOS) $(if $(RUN),--run "$(RUN)") --out "$(or $(OUT),names.csv)"

figures: $(READY)
	@$(BIN)python -m bioclip_lib.report $(if $(RUN),"$(RUN)") --readme

lab: $(READY)
	$(BIN)jupyter lab --notebook-dir=notebooks

environment: $(READY)

$(VENV)/.ready: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 14) else f"Python {v[0]}.{v[1]} is not supported; pass PYTHON=python3.11, or any of 3.11 to 3.14")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt -c constraints.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	touch $(VENV)/.ready
