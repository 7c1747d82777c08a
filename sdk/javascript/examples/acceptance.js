// Does what sdk/acceptance/scenarios.yaml asks of an agent in any language.
import { Agent, serve } from './caxton.js';

const acts = {
  agree: 'agree', refuse: 'refuse', inform: 'inform', failure: 'failure', propose: 'propose', 'not-understood': 'notUnderstood',
};

// what the host says no to, as a value
function attempt(action) {
  try {
    return action();
  } catch (error) {
    if (error.code === undefined) throw error;
    return { error: error.code };
  }
}

const commands = {
  echo: (asked, message) => message.inform(asked.value),
  reply: (asked, message) => message[acts[asked.with]](asked.value),
  work(asked, message, ctx) {
    ctx.send(message.agree());
    return message.inform(asked.value);
  },
  send: (asked, message, ctx) => attempt(() => {
    ctx.send(asked.to, 'inform', { hello: 'you' });
    return { sent: true };
  }),
  broadcast: (asked, message, ctx) => ({ receivers: ctx.broadcast({ agents: asked.agents }, 'inform', { hello: 'all' }) }),
  subscribe(asked, message, ctx) {
    ctx.subscribe([asked.topic]);
    return { subscribed: true };
  },
  set(asked, message, ctx) {
    ctx.state.set(asked.key, asked.value);
    if (asked.then === 'fail') throw new Error('broken on purpose');
    return { set: true };
  },
  get: (asked, message, ctx) => ({ value: ctx.state.get(asked.key) }),
  remove: (asked, message, ctx) => ({ removed: ctx.state.remove(asked.key) }),
  timer(asked, message, ctx, agent) {
    agent.waiting.set(ctx.setTimer(asked.seconds), message);
  },
  cancel(asked, message, ctx) {
    ctx.cancelTimer(ctx.setTimer(60));
    return { cancelled: true };
  },
  tool: (asked, message, ctx) => attempt(() => ({ answer: ctx.tool(asked.name, asked.arguments) })),
  log(asked, message, ctx) {
    ctx.log.info(asked.line);
    return { logged: true };
  },
  now: (asked, message, ctx) => ({ now: ctx.now() > 1.6e9 }),
  random: (asked, message, ctx) => ({ different: ctx.random() !== ctx.random() }),
  sleep(asked, message, ctx) {
    const before = ctx.now();
    ctx.sleep(asked.seconds);
    return { slept: ctx.now() - before >= asked.seconds };
  },
  fail() {
    throw new Error('broken on purpose');
  },
};

export class Acceptance extends Agent {
  static capabilities = ['acceptance'];
  waiting = new Map();

  handle(message, ctx) {
    return commands[message.content?.do]?.(message.content, message, ctx, this);
  }

  timer(timer, ctx) {
    ctx.send(this.waiting.get(timer).inform({ timer: timer > 0 }));
    this.waiting.delete(timer);
  }
}

export const guest = serve(Acceptance);
