from uuid import RFC_4122, UUID

from manman.identifiers import new_id


def test_every_identifier_is_random_and_new() -> None:
    made = [new_id() for _ in range(3000)]
    assert len(set(made)) == 3000
    assert [str(UUID(identifier)) for identifier in made] == made
    assert {(UUID(identifier).version, UUID(identifier).variant) for identifier in made} == {(4, RFC_4122)}
