from manman.domain.capabilities import DEFAULT, check_extra, granted


def test_a_game_has_the_default_capabilities_unless_its_config_says_otherwise() -> None:
    assert granted(without_default=False, extra=()) == sorted(DEFAULT)
    assert granted(without_default=False, extra=["NET_RAW", "CHOWN"]) == sorted([*DEFAULT, "NET_RAW"])
    assert granted(without_default=True, extra=["NET_BIND_SERVICE"]) == ["NET_BIND_SERVICE"]
    assert granted(without_default=True, extra=()) == []


def test_capabilities_that_reach_beyond_the_container_and_unknown_ones_are_refused_by_place() -> None:
    problems = check_extra(["NET_RAW", "SYS_ADMIN", "CAP_CHOWN", "net_raw", "ALL"], "extra")
    assert [problem.field for problem in problems] == ["extra[1]", "extra[2]", "extra[3]", "extra[4]"]
