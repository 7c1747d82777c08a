// The class that agents are made of.
import * as host from "./imports";
import { Context } from "./context";
import { Message } from "./message";

// Override what you need.
export class Agent {
  // What others find the agent by: `capability:pricing`.
  capabilities(): string[] { return []; }

  // At the start of every instance; `ctx.fail` is a failed start.
  start(ctx: Context): void {}

  // One message.
  handle(message: Message, ctx: Context): void {
    if (!message.isComplaint) ctx.send(message.notUnderstood("this agent handles no messages"));
  }

  // A timer is due.
  timer(timer: i32, ctx: Context): void {}

  // `ctx.fail` says that the agent does not feel well.
  health(ctx: Context): void {}

  // Before an orderly stop.
  stop(ctx: Context): void {}
}

export let own: Agent | null = null;
export const context = new Context();

// Say which agent this module is.
export function serve(agent: Agent): void { own = agent; }

// What the compiler calls when an assertion fails or an array ends (--use abort=...): a line in the log, and a trap.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = (message ? message : "abort") + " at " + (file ? file : "?") + ":" + line.toString() + ":" + column.toString();
  const bytes = String.UTF8.encode(text);
  host.console_error(changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}

// What Math.random starts from (--use seed=...).
export function seed(): f64 { return <f64>host.random_u32(); }
