"""Any bytes are a message or one named error, as the specification says; a message is read again as it was written."""

from dataclasses import replace

from tests._fast.agreement import agree, seen

NARROW = {"max_size": 200, "max_name": 4, "max_depth": 2, "max_receivers": 2}


def one_input(data: bytes | memoryview) -> None:
    found = agree(data)
    agree(data, **NARROW)
    if found is None:
        return
    # a name that fits behind the message, and one that does not
    for name in ("n" * 64, "n" * 65):
        assert seen(found.with_sender(name)) == replace(seen(found), sender=name)
    found.stamp(1)
    assert found.message_id is not None
