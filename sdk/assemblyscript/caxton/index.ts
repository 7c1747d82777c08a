// Agents for Caxton in AssemblyScript. Extend `Agent`, and end the entry file with `serve(new YourAgent())` and
// `export * from "./caxton/exports"`. docs/sdk-assemblyscript.md is the manual. What a turn does (messages, timers, state)
// takes effect when it ends without `ctx.fail`, or not at all.
export { Agent, serve, abort, seed } from "./agent";
export { Context, Audience } from "./context";
export { Code, nameOf } from "./code";
export { Draft } from "./draft";
export { Json, JsonObject } from "./json";
export { Address, Message } from "./message";
