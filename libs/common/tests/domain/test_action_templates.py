import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.action_templates import MAX_CHARACTERS, Template
from manman.errors import Invalid

VALUES = {"a": "1", "b": "two words", "empty": "", "no": "false", "A_9": "x"}


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("", ""),
        ("quit", "quit"),
        ("say {{.b}}!", "say two words!"),
        ("{{.a}}{{.a}}", "11"),
        ("{{ .a }}|{{\t.a\n}}", "1|1"),
        ("{{.missing}}|{{.empty}}", "|"),
        ("{{.A_9}}", "x"),
        ("x  {{- .a -}}  y", "x1y"),
        ("x  {{- .a }}  y", "x1  y"),
        ("x  {{ .a -}} \r\n\t y", "x  1y"),
        ("x {{if .a}}on{{end}}", "x on"),
        ("x {{if .empty}}on{{end}}", "x "),
        ("x {{if .missing}}on{{else}}off{{end}}", "x off"),
        ("{{if .a}}{{.b}}{{else}}{{.a}}{{end}}", "two words"),
        ("{{if .a}}{{if .empty}}1{{else}}2{{end}}{{else}}3{{end}}", "2"),
        ("{{if .empty}}{{if .a}}1{{end}}{{else}}{{if .a}}4{{end}}5{{end}}6", "456"),
        ("a {{- if .a }} b {{- else }} c {{- end }} d", "a b d"),
        ("{{if .no}}set{{end}}", ""),
        ("}} {a} { .a }", "}} {a} { .a }"),
        ("{{.a}}}", "1}"),
    ],
)
def test_a_template_becomes_a_command(text: str, command: str) -> None:
    assert Template(text).render(VALUES, unset={"no"}) == command


@pytest.mark.parametrize(
    "text",
    [
        "{{a}}",
        "{{.}}",
        "{{}}",
        "{{-}}",
        "{{- -}}",
        "{{-.a}}",
        "{{.a-}}",
        "{{.a.b}}",
        "{{. a}}",
        "{{.é}}",
        "{{.a | print}}",
        "{{print .a}}",
        '{{"a"}}',
        "{{/* note */}}",
        "{{$x := .a}}",
        "{{range .a}}{{end}}",
        "{{with .a}}{{end}}",
        '{{template "x"}}',
        "{{if a}}{{end}}",
        "{{if .a .b}}{{end}}",
        "{{if not .a}}{{end}}",
        "{{if.a}}{{end}}",
        "{{if .a}}",
        "{{if .a}}{{else}}",
        "{{else}}",
        "{{end}}",
        "{{if .a}}{{end}}{{end}}",
        "{{if .a}}{{else}}{{else}}{{end}}",
        "{{if .a}}{{else if .b}}{{end}}",
        "{{.a",
        "{{.a}",
        "{{{.a}}}",
        "x {{ {{.a}} }}",
        "{{if .a}}" * 11 + "{{end}}" * 11,
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        Template(text)
    assert [problem.field for problem in refused.value.problems] == ["command_template"]


def test_every_name_is_found() -> None:
    text = "{{.a}}{{if .b}}{{.c}}{{else}}{{if .d}}{{end}}{{end}}{{.a}}"
    assert Template(text).names() == {"a", "b", "c", "d"}


@given(st.text(), st.text())
def test_a_value_arrives_as_it_is_and_is_never_read_as_a_template(first: str, second: str) -> None:
    assert Template("<{{.a}}|{{.b}}>").render({"a": first, "b": second}) == f"<{first}|{second}>"


@given(st.text().filter(lambda text: "{{" not in text))
def test_a_text_without_double_braces_is_its_own_command(text: str) -> None:
    assert Template(text).render({"a": "never"}) == text


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", ".a", "if", " ", "-", "else", "end", "\n", "x"]), max_size=30))
def test_every_text_is_a_template_or_is_refused(pieces: list[str]) -> None:
    with contextlib.suppress(Invalid):
        Template("".join(pieces)).render({"a": "1"})
