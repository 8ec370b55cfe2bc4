import pytest

from manman.domain.crashes import cut, longest_line


@pytest.mark.parametrize(
    ("sizes", "total", "limit"),
    [
        ([], 10, 0),
        ([3, 4], 10, 4),
        ([10], 10, 10),
        ([1, 1, 100], 10, 8),
        ([100, 100], 10, 5),
        ([0, 0, 0, 11], 10, 10),
    ],
)
def test_only_the_longest_lines_are_cut_and_no_more_than_it_takes(sizes: list[int], total: int, limit: int) -> None:
    assert longest_line(sizes, total) == limit
    assert sum(min(size, limit) for size in sizes) <= total


def test_a_cut_line_does_not_end_in_half_a_character() -> None:
    assert [cut("aéb", size) for size in range(5)] == ["", "a", "a", "aé", "aéb"]
