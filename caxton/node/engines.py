"""The engines of a node: one for modules, and one for components when the first of them comes."""

import logging

from caxton._fast.wasm.engine import Engine
from caxton.core.config import Config

log = logging.getLogger(__name__)

COMPONENT_TABLE_ELEMENTS = 40_000  # an interpreter comes with 8,000, and more with each library
HOST_STACK = 256 << 10  # of a component's fiber, below the guest's: values are converted there
MOST_SLOTS = 1_000_000
MOST_STACK = 128 << 20
SPARE_SLOTS = 16  # instances beside max_agents: an old one may not be freed yet when its successor starts


def open_engine(config: Config, there: int) -> Engine:
    """With room for the instances that are *there* too, though runtime.max_agents has become less."""
    runtime = config.runtime
    engine = Engine(
        pool_slots=runtime.pool_slots or min(max(runtime.max_agents, there) + SPARE_SLOTS, MOST_SLOTS),
        max_memory=runtime.max_memory_per_agent,
        memory_reservation=runtime.memory_reservation,
        max_table_elements=runtime.max_table_elements,
        max_wasm_stack=runtime.max_wasm_stack,
        async_stack_size=runtime.async_stack_size,
        keep_resident=runtime.keep_resident,
    )
    for warning in engine.warnings:
        log.warning("%s", warning)
    return engine


def open_component_engine(config: Config) -> Engine:
    """Made when the first component comes: its address space and stacks are no business of a server without."""
    runtime = config.runtime
    engine = Engine(
        components=True,
        pool_slots=max(runtime.component_slots, 1),
        max_memory=runtime.max_memory_per_agent,
        memory_reservation=runtime.memory_reservation,
        max_table_elements=max(runtime.max_table_elements, COMPONENT_TABLE_ELEMENTS),
        max_wasm_stack=runtime.component_stack,
        async_stack_size=min(runtime.component_stack + max(runtime.async_stack_size, HOST_STACK), MOST_STACK),
        keep_resident=runtime.keep_resident,
    )
    for warning in engine.warnings:
        log.warning("components: %s", warning)
    return engine
