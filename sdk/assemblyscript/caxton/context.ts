// What an agent can ask of its host.
import * as host from "./imports";
import { Buffer } from "./buffer";
import { Code } from "./code";
import { Draft } from "./draft";
import { Json, JsonObject } from "./json";

const FIRST_ROOM = 64 << 10; // bytes of a tool's answer; a longer one costs a second call

function micros(seconds: f64): i64 { return <i64>Math.max(0, Math.round(seconds * 1e6)); }

function lines(text: string): ArrayBuffer { return String.UTF8.encode(text); }

// Who hears a broadcast; with nothing in it, the group `all`.
export class Audience {
  agents: string[] = [];
  groups: string[] = [];
  capabilities: string[] = [];

  write(out: Buffer): void {
    const filter = new JsonObject();
    if (this.agents.length) filter.with("agents", this.agents);
    if (this.groups.length) filter.with("groups", this.groups);
    if (this.capabilities.length) filter.with("capabilities", this.capabilities);
    filter.write(out);
  }
}

// An answer of the host: a value, or why there is none.
export class Answered {
  constructor(readonly code: Code, readonly value: Json) {}
}

export class Context {
  failed: bool = false; // for exports.ts

  // Send a message when the turn ends well.
  send(draft: Draft): Code {
    const text = draft.finish();
    return host.send_message(text.at, text.length);
  }

  // Send to many; how many they are, or a Code below 0.
  broadcast<T>(audience: Audience, performative: string, content: T): i32 {
    const filter = new Buffer();
    audience.write(filter);
    const text = Draft.begin(performative).field("content", content).finish();
    return host.broadcast_message(filter.at, filter.length, text.at, text.length);
  }

  // Hear what is sent to these topics, such as `orders.*`.
  subscribe(topics: string[]): Code {
    const filter = new Buffer();
    new JsonObject().with("topics", topics).write(filter);
    return host.subscribe_messages(filter.at, filter.length);
  }

  // End the turn as failed: what it did is undone, and the sender gets a FIPA `failure` with this text. Return after it.
  fail(text: string): void {
    this.failed = true;
    const bytes = lines(text);
    host.console_error(changetype<usize>(bytes), bytes.byteLength);
    host.set_error(changetype<usize>(bytes), bytes.byteLength);
  }

  // A line of the agent's log.
  log(line: string): void {
    const bytes = lines(line);
    host.console_log(changetype<usize>(bytes), bytes.byteLength);
  }

  logError(line: string): void {
    const bytes = lines(line);
    host.console_error(changetype<usize>(bytes), bytes.byteLength);
  }

  // What was wrong with the last call, as a sentence.
  lastError(): string {
    const room = new ArrayBuffer(256);
    const length = host.last_error(changetype<usize>(room), 256);
    return String.UTF8.decodeUnsafe(changetype<usize>(room), min(max(length, 0), 256));
  }

  // Seconds since 1970.
  now(): f64 { return <f64>host.current_timestamp() / 1e6; }

  // The agent sleeps; no thread waits with it.
  sleep(seconds: f64): void { host.sleep_micros(micros(seconds)); }

  random(): u32 { return host.random_u32(); }

  // `timer` is called so much later with the number that this gives, or a Code below 0; durable, at most a year.
  setTimer(seconds: f64): i32 { return host.set_timer(micros(seconds)); }

  cancelTimer(timer: i32): Code { return host.cancel_timer(timer); }

  // A value of the state; `exists` is false when there is none.
  get(key: string): Json {
    const bytes = this.getBytes(key);
    return bytes ? Json.of(bytes, bytes.byteLength) : new Json(0, 0);
  }

  getBytes(key: string): ArrayBuffer | null {
    const name = lines(key);
    let room = 256;
    while (true) {
      const bytes = new ArrayBuffer(room);
      const length = host.load_data(changetype<usize>(name), name.byteLength, changetype<usize>(bytes), room);
      if (length < 0) return null;
      if (length <= room) return bytes.slice(0, length);
      room = length;
    }
  }

  // Keep a value under a key of 1 to 256 bytes; it outlives the instance.
  set<T>(key: string, value: T): Code {
    const name = lines(key), text = new Buffer();
    text.value<T>(value);
    return host.store_data(changetype<usize>(name), name.byteLength, text.at, text.length);
  }

  setBytes(key: string, value: ArrayBuffer): Code {
    const name = lines(key);
    return host.store_data(changetype<usize>(name), name.byteLength, changetype<usize>(value), value.byteLength);
  }

  // Code.notFound when there was no value.
  remove(key: string): Code {
    const name = lines(key);
    return host.delete_data(changetype<usize>(name), name.byteLength);
  }

  // Call a tool; the agent waits for its answer and holds no thread. *timeout* in seconds; 0: the server's.
  tool<T>(name: string, args: T, timeout: f64 = 0): Answered {
    const request = new JsonObject().with("tool", name).with("arguments", args);
    if (timeout > 0) request.with("timeout_ms", <i64>(timeout * 1000));
    return this.slow(false, request);
  }

  // Search the memory of the agent's workspace.
  search(query: string): Answered { return this.slow(true, new JsonObject().with("query", query)); }

  private slow(search: bool, request: JsonObject): Answered {
    const text = new Buffer();
    request.write(text);
    let room = FIRST_ROOM;
    while (true) {
      const bytes = new ArrayBuffer(room), at = changetype<usize>(bytes);
      const found = search
        ? host.memory_search(text.at, text.length, at, room)
        : host.mcp_call(text.at, text.length, at, room);
      if (found >= 0) return new Answered(Code.ok, Json.of(bytes, found));
      // a code, or the size that is needed: always more than the room there was
      if (-found <= room) return new Answered(found, new Json(0, 0));
      room = -found;
    }
  }
}
