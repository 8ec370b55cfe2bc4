"""What is installed on a bare machine, and what people are told where nothing can be."""

import pytest

from manman_devstack import apt

_TARGETS = """\
http://mirror.example/debian/ bookworm
http://mirror.example/debian/ bookworm-updates
http://mirror.example/debian-security/ bookworm-security
"""


def test_only_packages_whose_program_is_absent_are_missing() -> None:
    assert apt.missing({"postgresql": True, "rabbitmq-server": False, "docker.io": False}) == [
        "rabbitmq-server",
        "docker.io",
    ]


@pytest.mark.parametrize(("debian", "root"), [(True, True), (True, False), (False, True), (False, False)])
def test_when_nothing_is_missing_nothing_is_run_anywhere(*, debian: bool, root: bool) -> None:
    assert apt.decide([], debian=debian, root=root) == []


def test_root_on_debian_updates_and_installs_without_recommendations() -> None:
    update, install = apt.decide(["postgresql", "docker.io"], debian=True, root=True)
    assert update[:2] == ["apt-get", "update"]
    assert install[:2] == ["apt-get", "install"]
    assert "--no-install-recommends" in install
    assert install[-2:] == ["postgresql", "docker.io"]


def test_others_on_debian_are_told_the_command_to_run_as_root() -> None:
    with pytest.raises(apt.CannotInstallError, match=r"run `apt-get install .* rabbitmq-server` as root"):
        apt.decide(["rabbitmq-server"], debian=True, root=False)


@pytest.mark.parametrize("root", [True, False])
def test_elsewhere_people_are_told_what_to_install(*, root: bool) -> None:
    with pytest.raises(apt.CannotInstallError, match=r"please install postgresql"):
        apt.decide(["postgresql"], debian=False, root=root)


def test_the_base_image_uses_the_mirror_of_this_machine_for_its_own_suite() -> None:
    assert apt.sources_for("bookworm", _TARGETS.replace("bookworm", "trixie")) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_a_machine_without_a_mirror_is_told_so() -> None:
    with pytest.raises(apt.CannotInstallError, match="no Debian mirror"):
        apt.sources_for("bookworm", "")
