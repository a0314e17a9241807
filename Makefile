# Two commands do everything:  make demo   and   make test
# Each first makes what it needs, once; see tools/bootstrap.py.

# A Python to start with; the environment gets the version its stack needs.
START ?= $(or $(PYTHON),python3)
# onedl (maintained forks) or openmmlab (its own last releases, Python 3.10)
STACK ?= onedl
# Another folder for the environment: VENV=DIR
VENV ?=
# More arguments for the program: make test ARGS='-k forest'
ARGS ?=
# Processes that run tests
JOBS ?= 2

BOOTSTRAP = $(START) tools/bootstrap.py --stack $(STACK) \
	$(if $(PYTHON),--python $(PYTHON)) $(if $(VENV),--venv $(VENV))
CACHES = .pytest_cache .ruff_cache .hypothesis build dist

.DEFAULT_GOAL := help
.PHONY: help demo demo-model test docs lint ops clean distclean

help:
	@echo 'make demo       label a few photos and draw them (sets up first)'
	@echo 'make demo-model the model in demo/models/ beside such labels; needs'
	@echo '                the compiled ops, as make test does'
	@echo 'make test       run the tests (sets up first; mmcv may compile,'
	@echo '                about 10 min on 2 cores)'
	@echo 'make docs       the documentation: build/docs/index.html'
	@echo 'make ops        only set up what training needs'
	@echo 'make lint       check the style'
	@echo 'make clean      remove build outputs and caches'
	@echo 'make distclean  remove the environments too'
	@echo
	@echo 'STACK=openmmlab  its own last releases, on Python 3.10'
	@echo 'PYTHON=PATH      a Python to make the environment with'
	@echo 'VENV=DIR         another folder for the environment'
	@echo "ARGS='...'       more arguments for the program"
	@echo 'UV_TORCH_BACKEND=cpu (environment) torch without CUDA, a much'
	@echo '                 smaller download'

demo:
	@$(BOOTSTRAP) --stage demo -- demo/pseudo_labels_demo.py $(ARGS)

# mmdet does not import without the compiled ops, so nor does any model.
demo-model:
	@$(BOOTSTRAP) --stage ops -- demo/model_demo.py $(ARGS)

test:
	@OMP_NUM_THREADS=1 $(BOOTSTRAP) --stage test -- -m pytest tests \
		-n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

ops:
	@$(BOOTSTRAP) --stage ops

docs:
	@$(BOOTSTRAP) --stage docs -- -m sphinx -W --keep-going -q -b html \
		docs build/docs $(ARGS)
	@echo 'look at build/docs/index.html'

lint:
	@$(BOOTSTRAP) --stage lint -- -m ruff check . $(ARGS)

clean:
	rm -rf $(CACHES) *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-openmmlab
