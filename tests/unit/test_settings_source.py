"""Where settings come from, which source wins, and what is said about mistakes."""

import json
import tomllib
from pathlib import Path

import pytest

from proxy.settings import Settings
from proxy.settings_catalogue import list_entries, list_sections, write_toml
from proxy.settings_source import Loaded, SettingsError, load

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def config(tmp_path):
    """Write a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "pgsidecar.toml"
        path.write_text(text)
        return path

    return write


def read(flags=None, environ=None, file=None) -> Loaded:
    return load(flags or {}, environ or {}, file)


def mistakes(flags=None, environ=None, file=None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(flags, environ, file)
    assert caught.value.__cause__ is None
    assert str(caught.value) == "\n".join(caught.value.lines)
    return caught.value.lines


def test_flag_wins_over_environment_over_file_over_default(config):
    file = config("[pool]\nsize = 1\noverflow = 2\nqueue_size = 3")
    loaded = read(
        {"pool.size": "5"}, {"PGSIDECAR_POOL__SIZE": "6", "PGSIDECAR_POOL__OVERFLOW": "7"}, file
    )
    pool = loaded.settings.pool
    assert (pool.size, pool.overflow, pool.queue_size, pool.idle_s) == (5, 7, 3, 1.0)
    assert loaded.origins["pool.size"] == "flag --pool.size"
    assert loaded.origins["pool.overflow"] == "environment PGSIDECAR_POOL__OVERFLOW"
    assert loaded.origins["pool.queue_size"] == f"file {file}"
    assert loaded.origins["pool.idle_s"] == "default"


def test_nothing_given_means_the_defaults():
    loaded = read()
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.warnings == ()


def test_every_setting_can_be_given_by_every_source(config, tmp_path):
    certificates = tmp_path / "ca.pem"
    certificates.touch()
    base = {
        "PGSIDECAR_AUTH__TOKENS_DIR": "/t",
        "PGSIDECAR_AUTH__JWT_AUDIENCE": "a",
        "PGSIDECAR_SESSION__ROLES_ARE_NO_BOUNDARY": "true",
    }
    for entry in list_entries().values():
        value = str(certificates) if entry.key == "tls_ca_file" else entry.example
        text = value if isinstance(value, str) else json.dumps(value)
        file = config(f"[{entry.section}]\n{entry.key} = {write_toml(value)}")
        needed = {name: text for name, text in base.items() if name != entry.variable}
        by_file = read(environ=needed, file=file)
        assert by_file.origins[entry.name] == f"file {file}"
        assert read({entry.name: text}, needed).settings == by_file.settings
        assert read(environ={**needed, entry.variable: text}).settings == by_file.settings


def test_map_and_list_are_json_in_flags_and_environment():
    loaded = read(
        {"session.settings": '{"app.tenant": "a", "jit": false}'},
        {"PGSIDECAR_SESSION__HOOKS": '["select 1"]'},
    )
    assert loaded.settings.session.settings == {"app.tenant": "a", "jit": "off"}
    assert loaded.settings.session.hooks == ("select 1",)


def test_text_that_is_no_json_is_told_the_right_form():
    (line,) = mistakes({"session.hooks": "select 1"})
    assert line.startswith("session.hooks (flag --session.hooks): ")
    assert line.endswith('it takes: list of texts, such as ["set jit = off"]')


def test_number_out_of_bounds_is_told_origin_and_bounds():
    (line,) = mistakes(environ={"PGSIDECAR_POOL__SIZE": "0"})
    assert line.startswith("pool.size (environment PGSIDECAR_POOL__SIZE): ")
    assert line.endswith("it takes: integer, 1 to 1000")


def test_mistakes_never_repeat_a_value(config):
    names = [
        name
        for name, entry in list_entries().items()
        if "text" not in entry.form and entry.form != "path"
    ]
    lines = mistakes(dict.fromkeys(names, "hunter2"))
    assert len(lines) == len(names)
    assert "hunter2" not in "".join(lines)


def test_own_rule_continues_the_name_of_the_setting():
    (line,) = mistakes({"upstream.dsn": "mysql://u:hunter2@h"})
    assert line.startswith("upstream.dsn (flag --upstream.dsn) is not for Postgres")


def test_rule_over_several_settings_names_them_itself():
    (line,) = mistakes({"http.host": "0.0.0.0"})
    assert line.startswith("http.host is not a loopback address")


def test_all_mistakes_of_all_sources_are_said_at_once(config):
    file = config("[pool]\nsiz = 1\n[log]\nlevel = 3")
    lines = mistakes({"pool.queue": "1"}, {"PGSIDECAR_POOL__SIZE": "many"}, file)
    assert len(lines) == 4


def test_misspelt_key_gets_the_nearest_name(config):
    file = config("[pool]\nsizee = 1")
    message = f"file {file}: pool.sizee is not a setting; did you mean pool.size?"
    assert mistakes(file=file) == (message,)


def test_misspelt_section_gets_the_nearest_name(config):
    (line,) = mistakes(file=config("[upstraem]\ndsn = 'x'"))
    assert line.endswith("upstraem is not a setting; did you mean upstream?")


def test_key_outside_its_section_gets_the_nearest_name(config):
    (line,) = mistakes(file=config("pool_size = 1"))
    assert line.endswith("pool_size is not a setting; did you mean pool.size?")


def test_section_that_is_no_table_is_told_the_form(config):
    (line,) = mistakes(file=config("pool = 3"))
    assert line.endswith("pool is a section; write [pool] and its settings below")


def test_misspelt_flag_gets_the_nearest_name():
    assert mistakes({"pool.sise": "1"}) == (
        "--pool.sise is not a setting; did you mean --pool.size?",
    )


def test_name_that_resembles_none_gets_the_list():
    (line,) = mistakes({"xyzzy": "1"})
    assert line == "--xyzzy is not a setting; `pgsidecar config` lists them"


def test_misspelt_variable_is_a_warning_with_the_nearest_name():
    loaded = read(environ={"PGSIDECAR_POOL_SIZE": "3", "PATH": "/bin"})
    assert loaded.settings.pool.size == 20
    assert loaded.warnings == (
        "PGSIDECAR_POOL_SIZE is not a setting; did you mean PGSIDECAR_POOL__SIZE?",
    )


def test_variables_of_a_kubernetes_service_only_warn():
    loaded = read(environ={"PGSIDECAR_PORT": "tcp://10.0.0.1:7432", "PGSIDECAR_CONFIG": "x.toml"})
    assert loaded.warnings == ("PGSIDECAR_PORT is not a setting; `pgsidecar config` lists them",)


def test_empty_variable_counts_as_unset():
    loaded = read(environ={"PGSIDECAR_UPSTREAM__DSN": ""})
    assert loaded.settings.upstream.dsn is None
    assert loaded.origins["upstream.dsn"] == "default"


def test_process_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("PGSIDECAR_POOL__SIZE", "7")
    monkeypatch.setenv("SESSION", "gnome")
    loaded = read({"session.settings": '{"jit": "off"}'})
    assert loaded.settings == Settings(session={"settings": {"jit": "off"}})


def test_missing_file_is_named(tmp_path):
    (line,) = mistakes(file=tmp_path / "none.toml")
    assert line == f"file {tmp_path}/none.toml can't be read: No such file or directory"


def test_file_that_is_no_toml_is_told_where(config):
    (line,) = mistakes(file=config("[pool]\nsize = many"))
    assert "is not TOML" in line
    assert "line 2" in line


@pytest.mark.parametrize("profile", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.stem)
def test_profile_loads(profile):
    assert read(file=profile).warnings == ()


def test_reference_file_switched_on_has_the_defaults(config):
    lines = (CONFIG / "reference.toml").read_text().splitlines()
    document = tomllib.loads(
        "\n".join(
            line.removeprefix("# ") for line in lines if " = " in line or line.startswith("[")
        )
    )
    for entry in list_entries().values():
        if entry.default is not None:
            assert document[entry.section][entry.key] == entry.default, entry.name
        else:
            assert entry.key in document[entry.section]


def test_every_setting_and_section_has_a_help_sentence():
    sentences = [*list_sections().values(), *(entry.help for entry in list_entries().values())]
    assert all(sentence[0].isupper() or sentence.startswith("json") for sentence in sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


def test_times_and_sizes_say_their_unit():
    entries = list_entries()
    assert entries["pool.idle_s"].form == "number of seconds, 0 to 3600"
    assert entries["limits.bytes"].form.startswith("integer of bytes, 1024 to")
    assert entries["limits.held_share"].form == "number, above 0 to 1"
