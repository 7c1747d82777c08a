"""Any bytes as a segment of the journal: it is read, or called damaged; and what is carried on of it is a segment."""

from caxton._fast.scheduler import Scheduler
from caxton.core.errors import StoreError
from tests._fast.scheduling import engine
from tests.oracles import ledger as oracle


def one_input(data: bytes | memoryview, good: bytes = b"") -> None:
    """Also with *good* recovered in its place, so that these bytes are what the store gives back of it later."""
    for first in (bytes(data), good) if good else (bytes(data),):
        read(first, bytes(data))


def read(first: bytes, records: bytes) -> None:
    scheduler = Scheduler(
        engine(), threads=1, boot=2, journal_bytes=1, max_message_size=4096, history_messages=10, history_bytes=1 << 14
    )
    ledger = scheduler.ledger
    try:
        ledger.begin_recovery(1)
        ledger.recover(1, first)
        ledger.remember(records)
        waiting = ledger.recovered()
        assert ledger.live == sum(waiting.values())
        for number, owner in enumerate(ledger.owners_waiting()):
            port = scheduler.open_port(f"agent{number}")
            scheduler.keep_port(port, owner)
            scheduler.refill(port, ledger.refill(port), records)
        ledger.carry(1, records)
        batch = ledger.take()
        if first == records and batch is not None:
            assert sum(len(entry.owners) for entry in oracle.entries(batch.records)) == ledger.live
    except StoreError as error:
        if error.details["cause"] != "damaged":
            raise
    finally:
        scheduler.stop()
