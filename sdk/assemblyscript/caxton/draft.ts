// A message in the making.
import { Buffer } from "./buffer";

const spare: Buffer[] = []; // of drafts that were sent

export class Draft {
  readonly out: Buffer;

  constructor(performative: string) {
    this.out = spare.length ? spare.pop() : new Buffer();
    this.out.length = 0;
    this.out.ascii('{"performative":"');
    this.out.ascii(performative);
    this.out.byte(0x22);
  }

  // The first message of a conversation. *receiver* is a name, `capability:NAME`, `topic:NAME` or `broadcast://GROUP`.
  static to<T>(receiver: string, performative: string, content: T): Draft {
    return new Draft(performative).field("receiver", receiver).field("content", content);
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

  // for the context: the draft is at its end, and its buffer serves the next one
  finish(): Buffer {
    this.out.byte(0x7d);
    spare.push(this.out);
    return this.out;
  }
}
