"""Each test gets parts of its own."""

import psycopg
import pytest

from manman_devstack import object_store as object_stores
from manman_devstack import vhosts
from manman_devstack.object_store import ObjectStore
from manman_devstack.parts import Broker


@pytest.mark.parametrize("run", [1, 2])
def test_a_table_made_in_one_test_is_not_there_in_the_next(empty_database_url: str, run: int) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE mark (run integer)")
        connection.execute("INSERT INTO mark VALUES (%s)", [run])
        assert connection.execute("SELECT run FROM mark").fetchall() == [(run,)]


@pytest.mark.parametrize("run", [1, 2])
def test_a_virtual_host_starts_without_queues(amqp_url: str, rabbitmq_urls: Broker, run: int) -> None:
    name = amqp_url.rsplit("/", 1)[1]
    queues = f"/api/queues/{name}"
    assert vhosts.call(rabbitmq_urls.management_url, "GET", queues) == []
    vhosts.call(rabbitmq_urls.management_url, "PUT", f"{queues}/mark-{run}", {"durable": True})
    assert [queue["name"] for queue in vhosts.call(rabbitmq_urls.management_url, "GET", queues)] == [f"mark-{run}"]


@pytest.mark.parametrize("run", [1, 2])
def test_a_bucket_starts_empty(object_store: ObjectStore, run: int) -> None:
    s3 = object_stores.client(object_store)
    assert "Contents" not in s3.list_objects_v2(Bucket=object_store.bucket)
    s3.put_object(Bucket=object_store.bucket, Key=f"mark-{run}", Body=b"mark")
    assert s3.get_object(Bucket=object_store.bucket, Key=f"mark-{run}")["Body"].read() == b"mark"
