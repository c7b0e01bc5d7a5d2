# foreact: `make demo` runs the whole pipeline, `make test` the tests; both set everything up first.
.PHONY: setup demo test test-tensorrt check bench-gpu lock clean help
.DEFAULT_GOAL := setup

export PYTHONSAFEPATH := 1
export UV_PYTHON_DOWNLOADS := never
# Where this is set, every process compiles torch anew: two CPU-seconds for each import of it.
unexport PYTHONDONTWRITEBYTECODE

STAMP := .venv/foreact.stamp
PY := .venv/bin/python -P
ARGS ?=
JOBS ?= 2

setup: $(STAMP)

# One comparison instead of time stamps: a fresh checkout gives every file the same time.
$(STAMP): FORCE
	@cat pyproject.toml requirements.txt scripts/setup | cmp -s - $(STAMP) || sh scripts/setup
FORCE:

demo: setup
	.venv/bin/foreact demo $(ARGS)

test: setup
	$(PY) -m pytest tests/unit -n $(JOBS) --dist loadfile $(ARGS)
	$(PY) -m pytest tests/integration -n $(JOBS) --dist loadfile $(ARGS)
	@if [ -d tests/e2e ]; then $(PY) -m pytest tests/e2e $(ARGS); fi
	@if [ -d tests/gpu ] && $(PY) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; \
		then $(PY) -m pytest tests/gpu $(ARGS); else echo "no CUDA device: tests/gpu was not run"; fi

# Plans by TensorRT-RTX, which builds without a GPU; NVIDIA's stubs of TensorRT 10.13, without the packages they ask for.
STUBS := .venv/tensorrt-stubs
test-tensorrt: setup
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; \
		then .venv/bin/uv pip install -q --python .venv/bin/python -c requirements.txt -e '.[tensorrt]'; fi
	@[ -d $(STUBS) ] || .venv/bin/uv pip install -q --target $(STUBS) --no-deps tensorrt-stubs==10.13.0.35.1
	$(PY) -m pytest tests/tensorrt tests/unit/deploy_edge/tensorrt $(ARGS)

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	$(PY) -m pytest -q tests/unit/house

bench-gpu: setup
	$(PY) benchmarks/sim_gpu.py --out benchmarks/results
	$(PY) benchmarks/edge_gpu.py --out benchmarks/results
	$(PY) benchmarks/futures_gpu.py --out benchmarks/results
	.venv/bin/foreact bench kernels --device cuda $(ARGS)

lock: setup
	sh scripts/lock $(ARGS)

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist

help:
	@echo "make          create .venv and install everything"
	@echo "make demo     the whole pipeline on six tasks; ARGS='tasks=[faucet-open,plate-slide]' changes it"
	@echo "make test     unit, integration and end-to-end tests (GPU tests where there is a GPU); JOBS=4 uses 4 processes"
	@echo "make test-tensorrt  build real TensorRT-RTX plans (no GPU needed) and check the API against NVIDIA's stubs"
	@echo "make check    ruff, pyright, import floors, size caps"
	@echo "make bench-gpu  time simulated worlds, inference, imagined futures and the kernels on the GPU"
	@echo "make lock     compile requirements.txt again; ARGS=--upgrade takes newer versions"
	@echo "make clean    remove .venv and caches (runs/ and data/ stay)"
