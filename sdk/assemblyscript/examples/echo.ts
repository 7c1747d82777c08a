// Answers every message with its content.
import { Agent, Context, Message, serve } from "../caxton";
export * from "../caxton/exports";

class Echo extends Agent {
  handle(message: Message, ctx: Context): void {
    if (!message.isComplaint) ctx.send(message.inform(message.content));
  }
}

serve(new Echo());
