"""docs/options.md says what the program's own definitions say."""

import pytest

from render.cli import main
from render.jobs.look import Look
from render.jobs.settings import Settings, option_of
from scripts import make_docs


def test_the_reference_of_options_is_up_to_date():
    assert (message := make_docs.stale()) is None, message


def test_a_stale_reference_is_said_with_the_command_that_refreshes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "PAGE", tmp_path / "docs" / "options.md")
    monkeypatch.setattr("sys.argv", ["make_docs.py", "--check"])
    said = "docs/options.md is not up to date. Refresh it: python scripts/make_docs.py"
    assert make_docs.stale() == said and make_docs.main() == 1  # there is none
    monkeypatch.setattr("sys.argv", ["make_docs.py"])
    assert make_docs.main() == 0 and make_docs.stale() is None
    path = tmp_path / "docs" / "options.md"
    path.write_text(path.read_text(encoding="utf-8").replace("| 1024 |", "| 1025 |"), encoding="utf-8")
    assert make_docs.stale() == said


def test_every_setting_and_every_key_is_in_the_reference():
    page = make_docs.page()
    for name in Settings.model_fields:
        assert f"| `{option_of(name)}" in page
    for key in Look.model_fields:
        assert f"| `{key}` |" in page


def commands(parser=None):
    """Every command that is run, with its options."""
    for child in (parser or main.parser()).commands.values():
        yield from commands(child) if child.complete().commands else [child]


@pytest.mark.parametrize("parser", list(commands()), ids=lambda parser: parser.prog)
def test_every_option_is_described_in_a_sentence_and_its_default_is_allowed(parser):
    assert parser.prog in make_docs.page()
    for option in parser.options:
        assert option.meaning.endswith(".") and option.meaning[0].isupper(), option.name
        if option.default is not None and option.kind == "value":
            assert option.value_of(option.write(option.default)) == option.default, option.name
