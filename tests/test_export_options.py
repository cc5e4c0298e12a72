import shlex

import pytest
from typer.testing import CliRunner

from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export.config import read_config
from nonlocal_lens.app.export.options import Options

GIVEN = {
    "inputs": ["a b.png", "samples"],
    "networks": "streets-dnl,streets-nl",
    "queries": ["10,20", "cell:3,4", "grid:2x3", "auto:5"],
    "terms": "input,whole,difference",
    "layout": "queries",
    "formats": ["png", "pdf"],
    "scale": "fixed:0,8",
    "opacity": 0.5,
    "backdrop": "gray",
    "arrows": 3,
    "width-in": 3.25,
    "dpi": 200,
    "caption": True,
}


def test_options_come_back_from_json():
    options = Options.build(GIVEN)
    assert Options.build(options.to_json()) == options
    assert options.query_count == 1 + 1 + 6 + 5
    assert options != Options.build({**GIVEN, "dpi": 201})


def test_choices_left_alone_are_left_out_of_json():
    least = {"inputs": ["x.png"], "networks": ["streets-nl"]}
    assert Options.build(least).to_json() == least


def test_the_command_of_options_gives_the_same_options(monkeypatch):
    options = Options.build(GIVEN)
    seen = []
    monkeypatch.setattr(
        "nonlocal_lens.app.export.command._run", lambda given, *_, **__: seen.append(given) or 0
    )
    words = shlex.split(options.command())
    assert words[:2] == ["nonlocal-lens", "export"]
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 0, result.output
    (same,) = seen
    assert set(same.queries) == set(options.queries), "cells come last on the command line"
    assert {**same.to_json(), "queries": []} == {**options.to_json(), "queries": []}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"inputs": []}, "at least one input must be given"),
        ({"networks": ""}, "at least one network must be given"),
        ({"terms": "input,heat"}, "unknown term 'heat'; available: input, labels, whole"),
        ({"terms": "whole,whole"}, "every term can be given once"),
        ({"formats": "bmp"}, "unknown format 'bmp'; available: png, pdf, svg, html, safetensors"),
        (
            {"layout": "poster"},
            "unknown layout 'poster'; available: grid, stacked, queries, panels",
        ),
        ({"layout": "sheet", "formats": "png,html"}, "the sheet layout has the formats png, pdf"),
        ({"layout": "sheet", "terms": "input"}, "a sheet needs at least one of the terms whole"),
        ({"terms": "labels"}, "the term labels needs a folder of label images"),
        ({"queries": ["7"]}, "a query must be X,Y"),
        ({"dpi": "many"}, "dpi must be a whole number, got 'many'"),
        ({"dpi": 99.5}, "dpi must be a whole number, got 99.5"),
        ({"colour": "red"}, "unknown option 'colour'; available: arrows, backdrop"),
        ({"head": -1}, "head must be at least 0, got -1"),
        ({"per_sheet": 0}, "per_sheet must be from 1 to 50, got 0"),
    ],
)
def test_options_that_do_not_exist_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options.build({"inputs": ["x.png"], "networks": ["streets-nl"], **wrong})


def test_a_yaml_file_holds_the_figures_of_a_paper(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "figures.yaml"
    path.write_text(
        "networks: [streets-dnl, streets-nl]\ninputs: samples:coffee\nwidth-in: 3.25\n"
        "figures:\n  - {out: one, query: ['auto:2'], format: svg}\n"
        "  - {out: two, layout: sheet, dpi: 150}\n"
    )
    one, two = read_config(path)
    assert one.pop("out") == "one"
    assert two.pop("out") == "two"
    assert Options.build(one).look.width == Options.build(two).look.width == 3.25
    assert Options.build(one).queries == ("auto:2",)
    assert Options.build(one).formats == ("svg",)
    assert Options.build(two).look.dpi == 150
    arguments = ["export", "--config", str(path), "--dpi", "99", "--dry-run", "--out", "here"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "every entry of figures needs an `out` of its own" in result.stderr


@pytest.mark.parametrize("text", ["- a list", "{", "figures: 3", "figures: [3]", "7: x"])
def test_other_files_are_refused_in_a_sentence(text, tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "figures.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"figures\.yaml"):
        read_config(path)


def test_every_option_is_declared_once():
    """The table that the command line is made from has just the fields of the options."""
    from dataclasses import fields

    from nonlocal_lens.analysis.figures import Look
    from nonlocal_lens.app.export.declared import GIVEN_AGAIN, OPTIONS

    names = [option.name for option in OPTIONS]
    held = {field.name for field in (*fields(Options), *fields(Look))} - {"look"}
    assert len(set(names)) == len(names)
    assert {*names, *GIVEN_AGAIN.values()} == held


def test_toml_says_the_same_as_yaml(tmp_path):
    yaml, toml = tmp_path / "figures.yaml", tmp_path / "figures.toml"
    yaml.write_text(
        "network: [streets-nl]\ndpi: 150\nfigures:\n"
        "  - {inputs: [samples], out: a}\n  - {inputs: ['rendered:3'], out: b, caption: true}\n"
    )
    toml.write_text(
        'network = ["streets-nl"]\ndpi = 150\n'
        '[[figures]]\ninputs = ["samples"]\nout = "a"\n'
        '[[figures]]\ninputs = ["rendered:3"]\nout = "b"\ncaption = true\n'
    )
    assert read_config(toml) == read_config(yaml)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "is not TOML: "),
        ("a = " + "[" * 17 + "]" * 17, "has more than 16 lists in one another"),
        ("a = [" + "1," * 20_001 + "]", "holds more than 20000 words"),
        ("a." * 2_001 + "a = 1", "has a line of more than 2000 dots"),
        ('b = {"a,=[" . ' + "'x' . " * 2_001 + "a = 1}", "has a line of more than 2000 dots"),
        ("a = " + "[" * 100_000, "is not TOML: "),
    ],
)
def test_toml_that_is_none_or_too_much_is_a_sentence(tmp_path, text, reason):
    path = tmp_path / "figures.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_config(path)
    assert len(str(caught.value)) <= 300 + len(str(tmp_path))
