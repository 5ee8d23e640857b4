# On a fresh machine: `make run` serves sample data, `make test` runs every test.
.PHONY: check run test bench fix lock docs clean
VENV := .venv/bin

check: .venv/.done
	@scripts/check.sh

run: .venv/.done
	@exec $(VENV)/pgsidecar serve $(ARGS)

test: .venv/.done  # most tests wait for something, so there are more processes than cores
	scripts/get-pgbouncer.sh
	scripts/get-postgres15.sh
	$(VENV)/pytest -n 4 --dist loadfile --cov --cov-report=term

bench: .venv/.done
	@scripts/bench.sh $(ARGS)

fix: .venv/.done
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

lock: .venv/.done
	$(VENV)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  -o requirements.lock pyproject.toml requirements.in

docs: .venv/.done
	$(VENV)/python scripts/generate_docs.py

clean:
	rm -rf .venv .cache build *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.done: requirements.lock pyproject.toml setup.py scripts/setup.sh $(wildcard proxy/encoders/*.pyx proxy/encoders/*.pxi)
	@scripts/setup.sh
