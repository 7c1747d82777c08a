"""Who gets the work: contract nets and auctions as machines, the side of the one who calls.

    messages.py      what is heard and said, and what every negotiation has
    bids.py          what a proposal offers, and which one is best
    contract_net.py  fipa-contract-net and fipa-iterated-contract-net
    auctions.py      fipa-auction-english and fipa-auction-dutch

Messages and the time go in, messages come out; a machine is one value that can be written down and read back. Who
sends and hears, keeps and wakes them is `caxton.node.tasks`.
"""

from typing import Final

import msgspec

from caxton.core.negotiation.auctions import DutchAuction, EnglishAuction
from caxton.core.negotiation.contract_net import ContractNet

Machine = ContractNet | EnglishAuction | DutchAuction

_decoder: Final[msgspec.json.Decoder[Machine]] = msgspec.json.Decoder(Machine)
_encoder: Final = msgspec.json.Encoder()


def encode_machine(machine: Machine) -> bytes:
    """The whole state, as JSON."""
    return _encoder.encode(machine)


def decode_machine(data: bytes) -> Machine:
    """What `encode_machine` wrote. Raises msgspec.MsgspecError for anything else."""
    return _decoder.decode(data)
