# `make help` lists the commands. Each sets up .venv first, once.
# On conda, activate the environment of environment.yml and pass VENV= to use it as it is.
PROFILE ?=
RUN ?=
PHOTOS ?=
NAMES ?=
SET ?=
UNFREEZE ?=
ADD ?=
EVENTS ?=
WORKERS ?= 2
VENV ?= .venv
PYTHON ?= python3

BIN := $(if $(VENV),$(VENV)/bin/)
READY := $(if $(VENV),$(VENV)/.ready)

# what is given goes through the environment, as it is: neither make nor the shell reads a $$ or a quote in it
GIVEN := PROFILE RUN PHOTOS NAMES OUT SET UNFREEZE ADD EVENTS
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)
ASKED = --profile "$$PROFILE" --run "$$RUN" --photos "$$PHOTOS" --names "$$NAMES" $(if $(UNFREEZE),--unfreeze) --settings "$$SET"

.PHONY: help reproduce look check lab report name sort settings figures readme test faults numerical lint pins bench environment
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  Your photographs:  make reproduce PROFILE=photos PHOTOS=path/to/folder'
	@echo '  More of them:      RUN=path/to/run  NAMES=table.csv  SET="key=value ..."  UNFREEZE=1'

reproduce: $(READY)  ## run every notebook, on the invented tree of life or on PHOTOS=; goes on where it stopped
	@$(BIN)python -m bioclip_lib.reproduce $(ASKED)

look: $(READY)  ## say in seconds how PHOTOS= would be read
	@$(BIN)python -m bioclip_lib.reproduce $(ASKED) --look

check: $(READY)  ## say what of RUN= is missing, damaged or out of date
	@$(BIN)python -m bioclip_lib.reproduce $(ASKED) --check

lab: $(READY)  ## open JupyterLab, its notebooks on RUN= or PHOTOS=
	@$(BIN)python -m bioclip_lib.reproduce $(ASKED) --lab

report: $(READY)  ## write the answer page of RUN= again
	@$(BIN)python -m bioclip_lib.reproduce.page $(if $(RUN),"$$RUN")

test: $(READY)  ## run the tests
	$(BIN)python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

faults: $(READY)  ## kill, fill the disk, flip bits: what a run survives (tests/faults/README.md)
	$(BIN)python -m tests.faults

numerical: $(READY)  ## repeat the numerical tests under other processor instructions
	.ci/numerical $(BIN)python

lint: $(READY)  ## style, order of imports, notebooks without outputs
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)lint-imports
	$(BIN)nbstripout --verify --keep-id notebooks/*.ipynb

pins: $(READY)  ## look for wheels of all pins
	.ci/pins $(BIN)uv

bench: $(READY)  ## measure speed (speed/README.md)
	$(BIN)python -m speed

name: $(READY)  ## name the species on PHOTOS= with RUN=, into OUT=; EVENTS= column or folder, ADD= new classes
	@$(BIN)python -m bioclip_lib.identify "$$PHOTOS" $(if $(RUN),--run "$$RUN") --out "$${OUT:-names.csv}" \
	  $(if $(EVENTS),--events "$$EVENTS") $(if $(ADD),--add "$$ADD")

sort: $(READY)  ## sort PHOTOS= without labels into groups that look alike, names suggested by RUN=, into OUT=; GROUPS= how many
	@$(BIN)python -m bioclip_lib.identify.sorting "$$PHOTOS" $(if $(RUN),--run "$$RUN") --out "$${OUT:-sorted.csv}" \
	  $(if $(GROUPS),--groups "$(GROUPS)")

settings: $(READY)  ## print every setting, with value (of RUN=, PROFILE=, SET=), meaning and limits
	@$(BIN)python -m bioclip_lib.reproduce $(ASKED) --list-settings

figures: $(READY)  ## draw all figures of RUN= again from its tables; WIDTH=85 (mm), STYLE=my.mplstyle, TO=folder
	@$(BIN)python -m bioclip_lib.figures $(if $(RUN),--run "$$RUN") $(if $(STYLE),--style "$(STYLE)") \
	  $(if $(WIDTH),--width "$(WIDTH)") $(if $(TO),--to "$(TO)")

readme: $(READY)  ## show RUN=, or the numbers of several, in README.md, data/ and figures/
	@$(BIN)python -m bioclip_lib.reproduce.readme $(RUN)

environment: $(READY)  ## set up .venv

$(VENV)/.ready: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 14) else f"Python {v[0]}.{v[1]} is not supported; pass PYTHON=python3.11, or any of 3.11 to 3.14")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt -c constraints.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	touch $(VENV)/.ready
