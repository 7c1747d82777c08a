// Agents in JavaScript: extend `Agent`, write `handle`, and end the module with `export const guest = serve(YourAgent)`.
// Runs inside a component made by componentize-js; docs/sdk-javascript.md is the manual. A call to the host suspends the
// agent and holds no thread, so everything is a plain call; methods that are `async` are given promises of what waits.
import { send, broadcast, subscribe } from 'caxton:agent/messaging@1.0.0';
import { info, error as complain } from 'caxton:agent/log@1.0.0';
import { now, sleep } from 'caxton:agent/clock@1.0.0';
import { getU64 } from 'caxton:agent/random@1.0.0';
import { set as setTimer, cancel as cancelTimer } from 'caxton:agent/timers@1.0.0';
import { load, store, loadBytes, storeBytes, remove } from 'caxton:agent/state@1.0.0';
import { callTool, memorySearch } from 'caxton:agent/tools@1.0.0';

// What a call to the host can end with. `code` is one of caxton:agent/types: no-receiver, mailbox-full, unavailable, ...
export class CaxtonError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'CaxtonError';
    this.code = code;
  }
}

function call(hostFunction, ...args) {
  try {
    return hostFunction(...args);
  } catch (thrown) {
    const payload = thrown?.payload ?? thrown;
    if (typeof payload?.code === 'string') throw new CaxtonError(payload.code, payload.message);
    throw thrown;
  }
}

const AsyncFunction = (async () => {}).constructor;
const microseconds = (seconds) => BigInt(Math.max(0, Math.round(seconds * 1e6)));

// An answer: what `handle` returns, or what `ctx.send` sends later. The host fills in what it says nothing about.
export class Reply {
  constructor(performative, content = null, fields = {}) {
    this.fields = { performative, content, ...fields };
  }

  text() {
    return JSON.stringify(this.fields);
  }
}

let asked = 0;

// One FIPA message. `fields` has all of it; the usual ones are properties.
export class Message {
  // `ctx.state.set(key, message.fields)` keeps it, and `new Message(ctx.state.get(key))` is it again in a later turn.
  constructor(fields) {
    this.fields = typeof fields === 'string' ? JSON.parse(fields) : fields;
  }

  get performative() { return this.fields.performative; }
  get sender() { return this.fields.sender; }
  get receiver() { return this.fields.receiver; }
  get content() { return this.fields.content; }
  get conversationId() { return this.fields.conversation_id; }
  get inReplyTo() { return this.fields.in_reply_to; }
  get protocol() { return this.fields.protocol; }

  // An answer that finds its way at any time: `ctx.send(message.answer('inform', ...))` in a later turn.
  answer(performative, content = null, fields = {}) {
    const own = this.fields;
    const known = { receiver: own.reply_to ?? own.sender };
    if (own.conversation_id !== undefined) known.conversation_id = own.conversation_id;
    if (own.reply_with !== undefined) known.in_reply_to = own.reply_with;
    for (const name of ['protocol', 'ontology', 'language']) if (own[name] !== undefined) known[name] = own[name];
    return new Reply(performative, content, { ...known, ...fields });
  }

  agree(content, fields) { return this.answer('agree', content, fields); }
  refuse(content, fields) { return this.answer('refuse', content, fields); }
  inform(content, fields) { return this.answer('inform', content, fields); }
  failure(content, fields) { return this.answer('failure', content, fields); }
  // These two will be answered in their turn, and so have a reply_with of their own.
  propose(content, fields) { return this.answer('propose', content, { reply_with: `propose-${++asked}`, ...fields }); }
  acceptProposal(content, fields) {
    return this.answer('accept-proposal', content, { reply_with: `accept-proposal-${++asked}`, ...fields });
  }

  rejectProposal(content, fields) { return this.answer('reject-proposal', content, fields); }
  notUnderstood(content, fields) { return this.answer('not-understood', content, fields); }
}

// Small key-value state that outlives the instance. Values are JSON.
const state = {
  get(key, otherwise = null) {
    const found = call(load, key);
    return found === undefined || found === null ? otherwise : JSON.parse(found);
  },
  set(key, value) { call(store, key, JSON.stringify(value)); },
  remove(key) { return call(remove, key); },
  getBytes(key) { return call(loadBytes, key) ?? null; },
  setBytes(key, value) { call(storeBytes, key, value); },
};

const log = {
  info(...parts) { info(parts.map(String).join(' ')); },
  error(...parts) { complain(parts.map(String).join(' ')); },
};

// Given to methods. Effects (messages, timers, state) happen when the turn ends well, or not at all.
export const context = {
  log,
  state,
  send(to, performative = 'inform', content = null, fields = {}) {
    const reply = to instanceof Reply ? to : new Reply(performative, content, { receiver: to, ...fields });
    call(send, reply.text());
  },
  // *to*: {agents: [...], groups: [...], capabilities: [...]}; {} is the group `all`. How many receive it.
  broadcast(to, performative, content = null, fields = {}) {
    return call(broadcast, JSON.stringify(to), new Reply(performative, content, fields).text());
  },
  subscribe(topics, content) {
    call(subscribe, JSON.stringify(content === undefined ? { topics } : { topics, content }));
  },
  // `timer` is called so much later, with the number that is returned; at most a year.
  setTimer(seconds) { return call(setTimer, microseconds(seconds)); },
  cancelTimer(timer) { call(cancelTimer, timer); },
  // Call a tool; the agent waits for its answer and holds no thread. CaxtonError: unavailable, failed.
  tool(name, args = {}, timeoutSeconds) {
    const request = { tool: name, arguments: args };
    if (timeoutSeconds !== undefined) request.timeout_ms = Math.round(timeoutSeconds * 1000);
    return JSON.parse(call(callTool, JSON.stringify(request)));
  },
  search(query, options = {}) { return JSON.parse(call(memorySearch, JSON.stringify({ query, ...options }))); },
  now() { return Number(now()) / 1e6; },
  sleep(seconds) { sleep(microseconds(seconds)); },
  random() { return Number(getU64() >> 11n) / 2 ** 53; },
};

// Given to methods that are `async`: what waits is a promise, `const answer = await ctx.tool(...)`.
export const asyncContext = {
  ...context,
  async tool(...args) { return context.tool(...args); },
  async search(...args) { return context.search(...args); },
  async sleep(seconds) { context.sleep(seconds); },
};

// Override what you need; each may be `async`. `capabilities` are what others find the agent by: `capability:pricing`.
export class Agent {
  static capabilities = [];

  start(ctx) {}
  // Return nothing, a Reply (`message.agree(...)`), or a value: the content of an `inform`. What is thrown is a failed
  // message: what this turn did is undone, and the sender gets a FIPA `failure` from `ams`.
  handle(message, ctx) { return message.notUnderstood('this agent handles no messages'); }
  timer(timer, ctx) {}
  health(ctx) {}
  stop(ctx) {}
}

// The component's `guest`: `export const guest = serve(YourAgent)`.
export function serve(AgentClass) {
  let agent;
  // the host takes a thrown string as the error of the call
  const fail = (thrown) => {
    log.error(thrown?.stack ? `${thrown}\n${thrown.stack}` : String(thrown));
    throw String(thrown);
  };
  // a turn ends when its promise does
  const attempt = (name, args, finish) => {
    try {
      agent ??= new AgentClass();
      const found = agent[name](...args, agent[name] instanceof AsyncFunction ? asyncContext : context);
      return found instanceof Promise ? found.then(finish).catch(fail) : finish(found);
    } catch (thrown) {
      return fail(thrown);
    }
  };
  const nothing = () => undefined;
  const answer = (found) => {
    if (found === undefined || found === null) return undefined;
    return (found instanceof Reply ? found : new Reply('inform', found)).text();
  };
  return {
    init: () => attempt('start', [], nothing),
    handleMessage: (text) => attempt('handle', [new Message(text)], answer),
    handleTimer: (timer) => attempt('timer', [timer], nothing),
    getCapabilities() {
      const { capabilities } = AgentClass;
      return capabilities.length ? JSON.stringify({ capabilities }) : undefined;
    },
    health: () => attempt('health', [], nothing),
    shutdown: () => attempt('stop', [], nothing),
  };
}
