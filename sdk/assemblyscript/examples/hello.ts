// Greets whoever writes to it.
import { Agent, Context, Message, serve } from "../caxton";
export * from "../caxton/exports";

class Hello extends Agent {
  handle(message: Message, ctx: Context): void {
    ctx.send(message.inform("hello, " + message.content.text()));
  }
}

serve(new Hello());
