// The agent of acceptance.js with methods that are `async`: what waits is awaited.
import { serve } from './caxton.js';
import { Acceptance } from './acceptance.js';

class AsyncAcceptance extends Acceptance {
  async start(ctx) {
    await ctx.sleep(0.001);
    ctx.log.info('started');
  }

  async handle(message, ctx) {
    const asked = message.content;
    if (asked?.do === 'tool') {
      return ctx.tool(asked.name, asked.arguments).then((answer) => ({ answer }), (error) => ({ error: error.code }));
    }
    if (asked?.do === 'sleep') {
      const before = ctx.now();
      await Promise.all([ctx.sleep(asked.seconds), new Promise((done) => setTimeout(done, asked.seconds * 1000))]);
      return { slept: ctx.now() - before >= asked.seconds };
    }
    return super.handle(message, ctx);
  }

  async timer(timer, ctx) {
    await ctx.sleep(0.001);
    return super.timer(timer, ctx);
  }

  async health(ctx) {
    await ctx.sleep(0.001);
  }
}

export const guest = serve(AsyncAcceptance);
