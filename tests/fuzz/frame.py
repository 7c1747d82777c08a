"""Any bytes are a frame or one named error, as the specification says; what is a frame is written as the same bytes."""

from tests._fast.agreement import frames_agree


def one_input(data: bytes | memoryview) -> None:
    frames_agree(data)
