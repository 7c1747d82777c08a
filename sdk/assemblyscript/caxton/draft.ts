// A message in the making.
import { Buffer } from "./buffer";

const spare: Draft[] = []; // that were sent

export class Draft {
  readonly out: Buffer = new Buffer();

  // What the SDK begins a message with; a draft that was sent serves again.
  static begin(performative: string): Draft {
    const draft = spare.length ? spare.pop() : new Draft();
    draft.out.length = 0;
    draft.out.ascii('{"performative":"');
    draft.out.ascii(performative);
    draft.out.byte(0x22);
    return draft;
  }

  // The first message of a conversation. *receiver* is a name, `capability:NAME`, `topic:NAME` or `broadcast://GROUP`.
  static to<T>(receiver: string, performative: string, content: T): Draft {
    return Draft.begin(performative).field("receiver", receiver).field("content", content);
  }

  // What stands in a message twice is refused by the host, so a field is given once.
  field<T>(name: string, value: T): Draft {
    this.out.ascii(',"');
    this.out.ascii(name);
    this.out.ascii('":');
    this.out.value<T>(value);
    return this;
  }

  conversation(id: string): Draft { return this.field("conversation_id", id); }
  protocol(name: string): Draft { return this.field("protocol", name); }
  replyWith(mark: string): Draft { return this.field("reply_with", mark); }

  // for the context: the draft is at its end
  finish(): Buffer {
    this.out.byte(0x7d);
    spare.push(this);
    return this.out;
  }
}
