"""What decoding JSON raises that somebody else has written: it is none, or not what is asked for; it is nested too
deep; or a member's name is no UTF-8."""

import msgspec

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
