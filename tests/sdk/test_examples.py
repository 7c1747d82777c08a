"""Examples in several languages, in one conversation; what is skipped names the toolchain that is absent."""

from collections import Counter
from pathlib import Path

import pytest

from caxton.cli.projects.create import make
from caxton.cli.projects.languages import LANGUAGES, build_example, build_project
from caxton.cli.projects.project import find_project
from caxton.cli.projects.toolchains import CHECKOUT, Absent
from caxton.testing import Stage, open_stage, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLES = CHECKOUT / "examples"
CNP = "fipa-contract-net"
PATIENT = "runtime.compile_timeout=120s"  # Go brings megabytes, and the machine may be busy


def built(into: Path, **entries: str) -> dict[str, Path]:
    """name -> language:entry, as name -> .wasm."""
    found: dict[str, Path] = {}
    for name, entry in entries.items():
        language, _, path = entry.partition(":")
        found[name] = into / f"{name}.wasm"
        try:
            build_example(LANGUAGES[language], EXAMPLES / path, found[name])
        except Absent as absent:
            pytest.skip(f"{language}: {absent}; `make sdk-test` installs it")
    return found


def test_an_order_goes_through_three_languages(tmp_path: Path) -> None:
    agents = built(
        tmp_path,
        desk="go:orders/desk/main.go",
        inventory="rust:orders/inventory/inventory.rs",
        pricing="c:orders/pricing/pricing.c",
    )

    async def orders() -> None:
        async with open_stage(PATIENT) as stage:
            for name, wasm in agents.items():
                await stage.wasm(name, wasm)
            customer = await stage.agent("customer")

            async def order(number: int, content: object) -> tuple[str, object]:
                customer.send("desk", "request", content, conversation_id=f"order-{number}", reply_with="o")
                answer = await customer.expect()
                assert (answer.sender, answer.conversation_id) == ("desk", f"order-{number}")
                assert answer.in_reply_to == "o"
                return answer.performative, answer.content

            book = {"item": "book", "quantity": 6}
            assert await order(1, book) == ("inform", {"order": book, "price": 65})
            assert await order(2, book) == ("refuse", {"reason": "out of stock", "left": 4})
            pens = {"item": "pen", "quantity": 2}
            assert await order(3, pens) == ("inform", {"order": pens, "price": 10})
            assert await order(4, {"item": "pen"}) == ("refuse", "an order has an item and a quantity")
            await stage.restart("inventory")  # what is left is in its state
            assert await order(5, {"item": "pen", "quantity": 9}) == ("refuse", {"reason": "out of stock", "left": 8})
            said = [(each.sender, each.receiver) for each in stage.messages("order-1")]
            assert said == [
                ("customer", "desk"),
                ("desk", "inventory"),
                ("inventory", "desk"),
                ("desk", "pricing"),
                ("pricing", "desk"),
                ("desk", "customer"),
            ]

    run(orders)


def test_a_hundred_mappers_count_the_words(tmp_path: Path) -> None:
    agents = built(tmp_path, mapper="rust:map-reduce/mapper.rs", reducer="rust:map-reduce/reducer.rs")
    names = [f"mapper-{number}" for number in range(100)]
    texts = [f"Word number {number}, and word {number % 7}: Zoë's." for number in range(250)]

    async def count() -> None:
        async with open_stage(PATIENT) as stage:
            for name in names:
                await stage.wasm(name, agents["mapper"])
            await stage.wasm("reducer", agents["reducer"])
            customer = await stage.agent("customer")
            content = {"texts": texts, "mappers": names}
            customer.send("reducer", "request", content, conversation_id="job", reply_with="j")
            answer = await customer.expect("inform", within=60)
            words = "".join(c.lower() if c.isalnum() else " " for c in " ".join(texts)).split()
            assert answer.content == dict(Counter(words))
            senders = {each.sender for each in stage.messages("job")}
            assert senders == {"customer", "reducer", *names}

            customer.send("reducer", "request", {"texts": ["a"], "mappers": ["nobody"]}, conversation_id="lost")
            assert (await customer.expect("failure")).conversation_id == "lost"

    run(count)


def test_every_language_bids_in_one_contract_net(tmp_path: Path) -> None:
    modules: dict[str, Path] = {}
    missing: list[str] = []
    for name, language in LANGUAGES.items():
        make(tmp_path / name, name, "bidder", language, ())
        project = find_project(tmp_path / name)
        try:
            build_project(language, project.folder, project.wasm)
        except Absent as absent:
            missing.append(f"{name}: {absent}")
        else:
            modules[name] = project.wasm
    if len(modules) < 2:
        pytest.skip(f"{'; '.join(missing)}; `make sdk-test` installs them")

    async def bid() -> None:
        async with open_stage(PATIENT) as stage:
            for name, wasm in modules.items():
                await stage.wasm(name, wasm)
            await net(stage, list(modules))

    run(bid)


async def net(stage: Stage, bidders: list[str]) -> None:
    buyer = await stage.agent("buyer")
    for winner in bidders:
        conversation = f"net-{winner}"
        call = {"protocol": CNP, "conversation_id": conversation, "reply_with": "cfp"}
        buyer.send(bidders, "cfp", {"item": "book"}, **call)
        offers = [await buyer.expect("propose", conversation_id=conversation) for _ in bidders]
        assert {(each.sender, each.content["cost"]) for each in offers} == {(name, 10) for name in bidders}
        for offer in offers:
            buyer.reply(offer, "accept-proposal" if offer.sender == winner else "reject-proposal")
        done = await buyer.expect("inform", conversation_id=conversation)
        assert (done.sender, done.content) == (winner, {"done": True})
        found = stage.conversation(conversation)
        assert found.states == {name: "DONE" if name == winner else "REJECTED" for name in bidders}
        assert found.out_of_sequence == ()
