import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.rendering import FileTemplate, placeholders, render_config, render_text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{a}}", "1"),
        ("x{{a}}y{{b}}z", "x1y{{a}}z"),
        ("{{a}}{{a}}", "11"),
        ("{{{a}}}", "{1}"),
        ("{{ a }}", "{{ a }}"),
        ("{{a.b}}", "{{a.b}}"),
        ("{{.a}}", "{{.a}}"),
        ("{{}}", "{{}}"),
        ("{{nope}}", "{{nope}}"),
        ("{a}", "{a}"),
        ("{{a}", "{{a}"),
        ("{{é}}", "{{é}}"),
        ("$a %a \\1 \\g<0>", "$a %a \\1 \\g<0>"),
        ("", ""),
    ],
)
def test_a_placeholder_is_two_braces_a_name_and_two_braces(template: str, text: str) -> None:
    assert render_text(template, {"a": "1", "b": "{{a}}", "": "never", "é": "never"}) == text


@given(st.text())
def test_a_value_arrives_as_it_is(value: str) -> None:
    assert render_text("<{{a}}>", {"a": value, "b": "never"}) == f"<{value}>"


@given(st.text(alphabet="{}ab_1 "))
def test_a_text_without_values_stays_as_it_is(text: str) -> None:
    assert render_text(text, {}) == text


@given(st.dictionaries(st.sampled_from("abc"), st.text(alphabet="{}abc")))
def test_a_value_is_never_rendered_again(values: dict[str, str]) -> None:
    assert render_text("{{a}}|{{b}}", values) == f"{values.get('a', '{{a}}')}|{values.get('b', '{{b}}')}"


def test_names_are_found() -> None:
    assert placeholders("{{a}} {{b_2}} {{ c }}") == {"a", "b_2"}


def test_a_config_is_rendered_in_every_value_and_in_no_key() -> None:
    rendered = render_config(
        args="--n={{n}}",
        command=["run", "{{n}}"],
        entrypoint=["/{{n}}"],
        env={"{{n}}": "{{n}}"},
        files=[
            FileTemplate(path="/{{n}}", content="{{n}}", is_template=True),
            FileTemplate(path="/raw", content="{{n}}"),
        ],
        stop_command="stop {{n}}",
        values={"n": "5"},
    )

    assert rendered.args == "--n=5"
    assert rendered.command == ("run", "5")
    assert rendered.entrypoint == ("/5",)
    assert rendered.env == {"{{n}}": "5"}
    assert [(file.path, file.content) for file in rendered.files] == [("/{{n}}", "5"), ("/raw", "{{n}}")]
    assert rendered.stop_command == "stop 5"
