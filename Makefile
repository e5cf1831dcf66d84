# demo       the device half alone, in .venv-device: the shipped recording through a virtual Holter
# test       every extra but tensorflow, in .venv: ruff, vulture, mypy, import-linter, the fast tests; with the C engine
#            if a C compiler is found
# test-full  the same, and the cross-checks of minutes
# train      the shipped weights and bundles, from the recordings in ECGMOE_DATA
# bench      figures side by side
# clean      environments, builds and caches; never recordings, weights or runs

PYTHON ?= python3
WORKSTATION_EXTRAS := onnx,tflite,records,train,export,dev
BIN := .venv/bin
DEVICE_BIN := .venv-device/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope

ifeq ($(origin ECGMOE_DATA),undefined)
ifneq ($(wildcard ../shared/data),)
export ECGMOE_DATA := $(abspath ../shared/data)
endif
endif

# What the extension of the C engine is made of.
ENGINE_FILES := setup.py $(wildcard firmware_bridge/firmware/monitor/*.[ch] ecgmoe_edge/streaming/c_engine/*.[ch])

PACKAGE_FILES := $(shell find -L ecgmoe_edge -type f -not -path '*/__pycache__/*')

.PHONY: demo test test-full check train bench clean

demo: .venv-device/.installed
	$(DEVICE_BIN)/ecgmoe-edge demo

test: check
	$(PYTEST)

test-full: check
	$(PYTEST) -m "slow or not slow"

check: .venv/.engine
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture
	$(BIN)/mypy
	$(BIN)/lint-imports

train: .venv/.engine
	$(BIN)/ecgmoe-edge train -o runs/teacher --cache runs/examples
	$(BIN)/ecgmoe-edge distill --width small -o runs/student --cache runs/examples
	$(BIN)/ecgmoe-edge distill --width base --symmetric -o runs/student --cache runs/examples
	$(BIN)/ecgmoe-edge distill --width nano -o runs/student --cache runs/examples
	$(BIN)/ecgmoe-edge export --profile generic-cpu --student runs/student/student-small-qat.safetensors \
		-o runs/bundles/generic-cpu --overwrite

bench: .venv/.engine
	$(BIN)/python benchmarks/live_speed.py
	$(BIN)/python benchmarks/evaluate_ds2.py
	$(BIN)/python benchmarks/rpeaks.py --without xqrs

clean:
	rm -rf .venv .venv-device .venv-clients build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -f ecgmoe_edge/streaming/c_engine/_core.*so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(WORKSTATION_EXTRAS)]'
	touch $@

# The editable install builds the engine; changed sources build it again.
.venv/.engine: .venv/.installed $(ENGINE_FILES)
	rm -f ecgmoe_edge/streaming/c_engine/_core.*so
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

# Not editable: what the demo runs is what a device installs. A changed source file reinstalls the package alone.
.venv-device/.installed: pyproject.toml setup.py $(PACKAGE_FILES)
	rm -rf build
	if [ .venv-device/.dependencies -nt pyproject.toml ]; then \
		$(DEVICE_BIN)/pip install --quiet --no-deps --force-reinstall .; \
	else \
		$(PYTHON) -m venv --clear .venv-device && \
		$(DEVICE_BIN)/pip install --quiet '.[onnx]' && \
		touch .venv-device/.dependencies; \
	fi
	rm -rf build
	touch $@
