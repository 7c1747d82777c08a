// The module's exports (docs/agents.md): `export * from "./caxton/exports"` in the entry file.
import { context, own, Agent } from "./agent";
import { JsonObject } from "./json";
import { Buffer } from "./buffer";
import { Message } from "./message";

let inbox: usize = 0;
const message = new Message(); // one lives at a time, and a turn shall not leave garbage behind

// The host keeps the buffer and asks again only for a larger one.
export function caxton_alloc(length: usize): usize {
  if (inbox) heap.free(inbox);
  inbox = heap.alloc(length);
  return inbox;
}

function agent(): Agent {
  const found = own;
  assert(found, "no agent: call serve(new YourAgent())");
  return found as Agent;
}

function outcome(): i32 {
  const failed = context.failed;
  context.failed = false;
  return failed;
}

export function agent_init(): i32 {
  agent().start(context);
  return outcome();
}

export function agent_shutdown(): i32 {
  agent().stop(context);
  return outcome();
}

export function handle_message(at: usize, length: usize): i32 {
  agent().handle(message.read(at, <i32>length), context);
  return outcome();
}

export function handle_timer(timer: i32): i32 {
  agent().timer(timer, context);
  return outcome();
}

export function health_check(): i32 {
  agent().health(context);
  return outcome();
}

export function get_capabilities(at: usize, room: usize): i32 {
  const names = agent().capabilities();
  if (!names.length) return 0;
  const text = new Buffer();
  new JsonObject().with("capabilities", names).write(text);
  if (<usize>text.length > room) return 0;
  memory.copy(at, text.at, text.length);
  return text.length;
}
