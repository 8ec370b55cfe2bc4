import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from manman import logs
logs.configure("info", "json", "probe")
with logs.bind(session_id=7):
    structlog.get_logger("ours").info("game_started", image="x")
    structlog.get_logger("ours").debug("hidden")
    logging.getLogger("theirs").warning("disk %s", "full")
try:
    raise ValueError("boom")
except ValueError:
    structlog.get_logger("ours").exception("failed")
logging.getLogger("aiormq.connection").warning("Unexpected connection close from remote amqp://x")
"""


def test_our_lines_and_third_party_lines_are_json_with_service_time_and_bound_ids() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["game_started", "disk full", "failed"]
    assert all(line["service"] == "probe" and line["timestamp"].endswith("Z") for line in lines)
    assert lines[0]["session_id"] == 7
    assert lines[0]["level"] == "info"
    assert lines[1]["session_id"] == 7
    assert "session_id" not in lines[2]
    assert "ValueError: boom" in lines[2]["exception"]
