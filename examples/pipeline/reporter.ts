// reporter: puts statistics into words, a line for each sensor.
import { Agent, Context, Json, Message, serve } from "../../sdk/assemblyscript/caxton";
export * from "../../sdk/assemblyscript/caxton/exports";

function line(found: Json): string {
  const outliers = found.get("outliers").items();
  let text = found.get("sensor").text() + ": " + found.get("count").raw() + " readings, mean " + found.get("mean").raw();
  for (let i = 0; i < outliers.length; i++) text += (i ? ", " : "; look at ") + outliers[i].raw();
  return text;
}

class Reporter extends Agent {
  handle(message: Message, ctx: Context): void {
    if (!message.is("request")) return;
    const sensors = message.content.get("sensors").items();
    const lines: string[] = [];
    for (let i = 0; i < sensors.length; i++) lines.push(line(sensors[i]));
    const dropped = message.content.get("dropped");
    if (dropped.integer() > 0) lines.push(dropped.raw() + " lines were no readings");
    ctx.send(message.inform(lines.join("\n")));
  }
}

serve(new Reporter());
