"""The crate without `std`: its own allocator and panic handler carry an agent.

Stable Rust takes an allocator without `std` from 1.68 on; an older one is told that we mean it.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from caxton._fast.envelope import Envelope
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module
from caxton.cli.projects import toolchains

pytestmark = pytest.mark.slow

# takes blocks of all sizes and gives them back, in every message
AGENT = """
#![no_std]
extern crate alloc;
use alloc::{boxed::Box, vec, vec::Vec};
use caxton::*;

struct Churn;

impl Agent for Churn {
    fn handle(&mut self, message: &Message, ctx: &Context) -> Outcome {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for power in 0..18 {
            kept.push(vec![power as u8; (1 << power) + 1]);
            if power % 3 == 0 { kept.remove(0); }
        }
        for block in &kept {
            if block.iter().any(|byte| *byte != block[0]) { return Err("a block was given out twice".into()); }
        }
        ctx.send(message.inform(kept.len()))
    }
}

#[no_mangle]
pub fn caxton_agent() -> Box<dyn Agent> { Box::new(Churn) }
"""


def build(folder: Path) -> bytes:
    rustc, linker = toolchains.rust()
    common = [rustc, "--edition", "2021", "--target", toolchains.RUST_TARGET, "-C", "panic=abort", "-O"]
    said = subprocess.run([rustc, "--version"], capture_output=True, text=True, check=True).stdout
    minor = re.match(r"rustc 1\.(\d+)", said)
    assert minor, said
    feature = "#![feature(default_alloc_error_handler)]" if int(minor[1]) < 68 else ""
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    (folder / "agent.rs").write_text(feature + AGENT)
    crate = ["--crate-name", "caxton", "--crate-type", "rlib", "--cfg", 'feature="alone"', "-o", "libcaxton.rlib"]
    library = str(toolchains.sources() / "rust/src/lib.rs")
    agent = ["--crate-type", "cdylib", "-C", f"linker={linker}", "--extern", "caxton=libcaxton.rlib"]
    subprocess.run([*common, *crate, library], cwd=folder, env=environment, check=True)
    subprocess.run([*common, *agent, "-o", "agent.wasm", "agent.rs"], cwd=folder, env=environment, check=True)
    return (folder / "agent.wasm").read_bytes()


def test_memory_that_was_given_back_is_used_again(tmp_path: Path) -> None:
    try:
        wasm = build(tmp_path)
    except toolchains.Absent as absent:
        pytest.skip(f"rust: {absent}; `make sdk-test` installs it")
    engine = Engine(pool_slots=4, max_memory=8 << 20)
    instance = Instance(engine, Module.compile(engine, wasm), memory=8 << 20)
    instance.spawn()
    message = Envelope.from_json(b'{"performative":"request","sender":"a","receiver":"b","content":"x"}')
    for _ in range(200):  # 0.5 MB each: without using it again the memory would be at its end after a dozen
        instance.turn(message)
