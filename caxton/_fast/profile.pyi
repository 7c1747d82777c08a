"""What scheduler threads did while a profile ran: `Scheduler.start_profile` and `stop_profile`.

A sample is one look at one thread, about a thousand a second: its share of all samples is its share of the time.
"""

from typing import Final

# idle, scheduler, guest, envelope, router, journal, host, instance: activity.pxd says what each means
ACTIVITIES: Final[tuple[str, ...]]

class Profile:
    seconds: float
    looks: int  # samples of each thread
    messages: int  # handled meanwhile, or failed
    threads: list[tuple[int, ...]]  # samples of each thread, by activity
    # (port id, name, messages, samples by activity), in no order; port 0 is nobody, the name is empty when it is closed
    ports: list[tuple[int, str, int, tuple[int, ...]]]
