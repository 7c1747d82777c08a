// Messages that arrive, and answers to them.
import { Buffer } from "./buffer";
import { Draft } from "./draft";
import { Json, endOf, next } from "./json";

let expected = 0;

// The answers by their acts.
export abstract class Answering {
  protected abstract addressed(performative: string): Draft;

  answer<T>(performative: string, content: T): Draft { return this.addressed(performative).field("content", content); }

  // The same, when it will be answered in its turn: with a reply_with of its own.
  answerAndExpect<T>(performative: string, content: T): Draft {
    return this.answer(performative, content).replyWith(performative + "-" + (++expected).toString());
  }

  agree<T>(content: T): Draft { return this.answer("agree", content); }
  refuse<T>(content: T): Draft { return this.answer("refuse", content); }
  inform<T>(content: T): Draft { return this.answer("inform", content); }
  failure<T>(content: T): Draft { return this.answer("failure", content); }
  notUnderstood<T>(content: T): Draft { return this.answer("not-understood", content); }
  propose<T>(content: T): Draft { return this.answerAndExpect("propose", content); }
  acceptProposal<T>(content: T): Draft { return this.answerAndExpect("accept-proposal", content); }
  rejectProposal<T>(content: T): Draft { return this.answer("reject-proposal", content); }
}

// Where an answer goes, to be kept for a later turn.
export class Address extends Answering {
  constructor(private members: Buffer) { super(); }

  protected addressed(performative: string): Draft {
    const draft = new Draft(performative);
    draft.out.raw(this.members.at, this.members.length);
    return draft;
  }
}

// Which field a key is. The host writes keys without escapes: they are told apart by length and a letter.
function same(at: usize, length: i32, name: string): bool {
  if (length != name.length) return false;
  for (let i = 0; i < length; i++) if (load<u8>(at + i) != name.charCodeAt(i)) return false;
  return true;
}

// One FIPA message, for the time of its turn.
export class Message extends Answering {
  readonly whole: Json;
  private act: Json;
  private from: Json;
  private said: Json;
  private conversation: Json;
  private mark: Json;
  private answers: Json;
  private back: Json;
  private rules: Json;
  private words: Json;
  private tongue: Json;

  constructor(at: usize, length: i32) {
    super();
    const none = new Json(at, 0);
    this.whole = new Json(at, length);
    this.act = this.from = this.said = this.conversation = this.mark = none;
    this.answers = this.back = this.rules = this.words = this.tongue = none;
    const end = at + length;
    let p = next(at + 1, end);
    while (p < end && load<u8>(p) != 0x7d) {
      const keyEnd = endOf(p, end), start = next(keyEnd, end), stop = endOf(start, end);
      const name = p + 1, size = <i32>(keyEnd - p) - 2, length = <i32>(stop - start);
      p = next(stop, end);
      if (same(name, size, "performative")) this.act = new Json(start, length);
      else if (same(name, size, "sender")) this.from = new Json(start, length);
      else if (same(name, size, "content")) this.said = new Json(start, length);
      else if (same(name, size, "conversation_id")) this.conversation = new Json(start, length);
      else if (same(name, size, "reply_with")) this.mark = new Json(start, length);
      else if (same(name, size, "in_reply_to")) this.answers = new Json(start, length);
      else if (same(name, size, "reply_to")) this.back = new Json(start, length);
      else if (same(name, size, "protocol")) this.rules = new Json(start, length);
      else if (same(name, size, "ontology")) this.words = new Json(start, length);
      else if (same(name, size, "language")) this.tongue = new Json(start, length);
    }
  }

  get performative(): string { return this.act.text(); }
  get sender(): string { return this.from.text(); }
  get content(): Json { return this.said; }
  get conversationId(): string { return this.conversation.text(); }
  get inReplyTo(): string { return this.answers.text(); }
  get protocol(): string { return this.rules.text(); }

  // Any field, by its name in docs/api.md.
  field(name: string): Json { return this.whole.get(name); }

  // Is it this act?
  is(performative: string): bool { return this.act.is(performative); }

  // FIPA: never answer `failure` and `not-understood`, or two agents will complain to each other for ever.
  get isComplaint(): bool { return this.is("failure") || this.is("not-understood"); }

  // What an answer in a later turn needs.
  address(): Address {
    const members = new Buffer();
    this.writeAddress(members);
    return new Address(members);
  }

  protected addressed(performative: string): Draft {
    const draft = new Draft(performative);
    this.writeAddress(draft.out);
    return draft;
  }

  private writeAddress(out: Buffer): void {
    put(out, ',"receiver":', this.back.exists ? this.back : this.from);
    put(out, ',"conversation_id":', this.conversation);
    put(out, ',"in_reply_to":', this.mark);
    put(out, ',"protocol":', this.rules);
    put(out, ',"ontology":', this.words);
    put(out, ',"language":', this.tongue);
  }
}

function put(out: Buffer, name: string, value: Json): void {
  if (!value.exists) return;
  out.ascii(name);
  out.raw(value.at, value.length);
}
