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


def test_readings_go_through_a_pipeline(tmp_path: Path) -> None:
    agents = built(
        tmp_path,
        cleaner="rust:pipeline/cleaner.rs",
        analyst="python:pipeline/analyst.py",
        reporter="assemblyscript:pipeline/reporter.ts",
    )
    readings = "sensor,value\n" + "".join(f"oven,{value}\n" for value in (180, 181, 179.5, 180.5, 240))
    sensors = [
        {"sensor": "fridge", "count": 1, "mean": 4, "median": 4, "stdev": None, "outliers": []},
        {"sensor": "oven", "count": 5, "mean": 192.2, "median": 180.5, "stdev": 26.727, "outliers": [240]},
    ]

    async def flow() -> None:
        async with open_stage(PATIENT, modules=tmp_path / "modules") as stage:
            for name in ("cleaner", "analyst"):
                await stage.wasm(name, agents[name])
            customer, reporter = await stage.agent("customer"), await stage.agent("reporter")

            customer.send(
                "cleaner", "request", readings + "fridge, 4\nfridge,warm\n", conversation_id="c", reply_with="r"
            )
            asked = await reporter.expect("request")
            assert asked.content == {"sensors": sensors, "dropped": 2}
            await stage.restart("cleaner")  # who waits for what is in the state of each
            await stage.restart("analyst")
            reporter.reply(asked, "inform", "all is well")
            answer = await customer.expect()
            assert (answer.performative, answer.sender, answer.in_reply_to) == ("inform", "cleaner", "r")
            assert answer.content == {"sensors": sensors, "dropped": 2, "report": "all is well"}

            customer.send("cleaner", "request", "oven,1\n", conversation_id="out", reply_with="o")
            reporter.reply(await reporter.expect("request"), "failure", "no paper")
            answer = await customer.expect()  # what goes wrong at the end comes back the same way
            assert (answer.performative, answer.in_reply_to, answer.content) == ("failure", "o", "no paper")
            customer.send("cleaner", "request", "sensor,value\n", conversation_id="empty")
            assert (await customer.expect("refuse")).content == "no line is `sensor,value`"

    async def report() -> None:
        async with open_stage(PATIENT, modules=tmp_path / "modules") as stage:
            for name, wasm in agents.items():
                await stage.wasm(name, wasm)
            customer = await stage.agent("customer")
            customer.send("cleaner", "request", readings, conversation_id="c")
            answer = await customer.expect("inform")
            assert answer.content["report"] == "oven: 5 readings, mean 192.2; look at 240\n1 lines were no readings"
            assert [(each.sender, each.receiver) for each in stage.messages("c")] == [
                ("customer", "cleaner"),
                ("cleaner", "analyst"),
                ("analyst", "reporter"),
                ("reporter", "analyst"),
                ("analyst", "cleaner"),
                ("cleaner", "customer"),
            ]

    run(flow)
    run(report)


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
