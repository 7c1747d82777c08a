// Answers every message with its content.
import { Agent, serve } from './caxton.js';

class Echo extends Agent {
  handle(message) {
    if (['failure', 'not-understood'].includes(message.performative)) return undefined;
    return message.inform(message.content);
  }
}

export const guest = serve(Echo);
