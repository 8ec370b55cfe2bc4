from __future__ import annotations

from manman_wrapper.output import MAX_LINE_BYTES, Entry, Line, LineAssembler, Numbering, Tail

STAMP = "2026-11-23T13:08:27.654977948Z"


def frame(stream: int, text: bytes, stamp: str = STAMP) -> bytes:
    payload = stamp.encode() + b" " + text
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def test_frames_that_arrive_byte_by_byte_give_the_same_lines() -> None:
    log = frame(1, b"hello\n") + frame(2, b"oops\r\n") + frame(1, b"last\n")
    assembler = LineAssembler(tty=False)
    entries = [entry for index in range(len(log)) for entry in assembler.feed(log[index : index + 1])]
    assert [(entry.stream, entry.text) for entry in entries] == [(1, b"hello"), (2, b"oops"), (1, b"last")]


def test_parts_of_a_long_line_are_one_entry_even_when_the_other_stream_speaks_between() -> None:
    assembler = LineAssembler(tty=False)
    log = frame(1, b"a" * 16384) + frame(2, b"x\n") + frame(1, b"b\n")
    assert [(entry.stream, len(entry.text)) for entry in assembler.feed(log)] == [(2, 1), (1, 16385)]


def test_a_terminal_has_one_raw_stream_and_its_carriage_returns_are_dropped() -> None:
    assembler = LineAssembler(tty=True)
    stamp = STAMP.encode() + b" "
    raw = stamp + b"hi\r\n" + stamp + b"a" * 16384 + stamp + b"b\r\n"
    assert [entry.text for entry in assembler.feed(raw)] == [b"hi", b"a" * 16384 + b"b"]


def test_a_line_without_newline_at_the_end_of_the_log_is_not_lost() -> None:
    assembler = LineAssembler(tty=False)
    assert list(assembler.feed(frame(1, b"prompt> "))) == []
    assert [entry.text for entry in assembler.rest()] == [b"prompt> "]


def test_a_line_over_the_limit_is_split_between_characters_and_marked() -> None:
    lines, _ = Numbering(10).number(Entry(STAMP, 1, ("é" * MAX_LINE_BYTES).encode() + b"z"))
    assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
    assert all(line.truncated for line in lines[:-1])
    assert not lines[-1].truncated
    assert "".join(line.data.decode() for line in lines) == "é" * MAX_LINE_BYTES + "z"
    assert max(len(line.data) for line in lines) <= MAX_LINE_BYTES


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    (line,), _ = Numbering(10).number(Entry(STAMP, 2, b"caf\xe9"))
    assert line.data.decode() == "caf\ufffd"
    assert line.is_stderr


def test_a_flood_is_cut_for_its_second_and_one_line_says_how_many_were_dropped() -> None:
    numbering = Numbering(3)
    lines: list[Line] = []
    for _ in range(10):
        lines += numbering.number(Entry(STAMP, 1, b"x"))[0]
    after, position = numbering.number(Entry("2026-11-23T13:08:28.000000000Z", 1, b"y"))
    lines += after
    assert [line.data for line in lines[:3]] == [b"x"] * 3
    assert lines[3].skipped == 7
    assert b"7 lines dropped" in lines[3].data
    assert lines[4].data == b"y"
    assert [line.seq for line in lines] == [1, 2, 3, 4, 5]
    assert position is not None
    assert position.seq == 5


def test_the_same_log_read_again_from_a_position_has_the_same_numbers() -> None:
    entries = [
        Entry(f"2026-11-23T13:08:{20 + index // 7:02}.{index:09}Z", 1, str(index).encode()) for index in range(60)
    ]
    first = Numbering(5)
    lines, positions = [], []
    for entry in entries:
        more, position = first.number(entry)
        lines += more
        positions += [(position, entry)] if position else []
    position, entry = positions[3]
    again = Numbering(5, next_seq=position.seq)
    repeated = [line for later in entries[entries.index(entry) :] for line in again.number(later)[0]]
    assert repeated == [line for line in lines if line.seq >= position.seq]


def test_the_tail_forgets_the_oldest_lines_by_number_and_by_bytes() -> None:
    tail = Tail(5, 1000)
    for seq in range(1, 11):
        tail.add(Line(seq, 0, is_stderr=False, data=b"x" * 10))
    assert (tail.first_seq, tail.last_seq) == (6, 10)
    assert [line.seq for line in tail.after(7, 2)] == [8, 9]
    assert [line.seq for line in tail.after(0, 100)] == [6, 7, 8, 9, 10]
    assert tail.after(10, 5) == []
    tail.add(Line(11, 0, is_stderr=False, data=b"y" * 980))
    assert tail.first_seq == 9


def test_a_line_that_never_ends_is_cut_and_not_kept_whole() -> None:
    part = b"x" * 16_384
    for tty in (False, True):
        assembler = LineAssembler(tty=tty)
        entries: list[Entry] = []
        for _ in range(200):
            entries += assembler.feed(f"{STAMP} ".encode() + part if tty else frame(1, part))
        assert [entry.cut for entry in entries] == [True] * len(entries)
        assert 2 <= len(entries) <= 4
        end = b"end\n"
        entries += assembler.feed(f"{STAMP} ".encode() + end if tty else frame(1, end))
        assert b"".join(entry.text for entry in entries) == part * 200 + b"end"
        assert entries[-1].cut is False
        assert {entry.stamp for entry in entries} == {STAMP}
