"""What a supervisor does when a child ends, as Erlang/OTP does it; a machine without tasks and without a clock."""

from enum import StrEnum


class RestartType(StrEnum):
    """Which ends of a child call for a restart."""

    PERMANENT = "permanent"  # every end
    TRANSIENT = "transient"  # every end that is not normal
    TEMPORARY = "temporary"  # none


class Strategy(StrEnum):
    """Who is restarted together with the child that ended."""

    ONE_FOR_ONE = "one_for_one"  # nobody else
    ONE_FOR_ALL = "one_for_all"  # all of the group
    REST_FOR_ONE = "rest_for_one"  # those of the group that were started after it
