"""Sparing the server when the system runs out of memory (Linux): its compilers go first, and it goes last."""

from pathlib import Path

from caxton.core.errors import InvalidConfig

SCORE = Path("/proc/self/oom_score_adj")
NEVER = "-1000"


def spare_from_oom_killer() -> None:
    """For as long as this process lives. Raises InvalidConfig when that is not permitted."""
    try:
        if SCORE.read_text().strip() != NEVER:  # the service may have seen to it
            SCORE.write_text(NEVER)
    except OSError as error:
        raise InvalidConfig(
            f"resources.memory.oom_kill_disable: the system does not permit it: {error.strerror} ({SCORE})",
            hint="let systemd do it (OOMScoreAdjust=-1000 in the service), give the server CAP_SYS_RESOURCE, "
            "or take the key out",
        ) from None
