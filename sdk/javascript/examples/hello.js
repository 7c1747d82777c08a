import { Agent, serve } from './caxton.js';

class Hello extends Agent {
  static capabilities = ['greeting'];

  handle(message, ctx) {
    return message.inform(`hello, ${message.content}`);
  }
}

export const guest = serve(Hello);
