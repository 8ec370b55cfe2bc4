from uuid import RFC_4122

from manman.identifiers import new_id


def test_every_identifier_is_random_and_new() -> None:
    made = [new_id() for _ in range(3000)]
    assert len(set(made)) == 3000
    assert {(identifier.version, identifier.variant) for identifier in made} == {(4, RFC_4122)}
