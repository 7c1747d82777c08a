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
    const draft = Draft.begin(performative);
    draft.out.raw(this.members.at, this.members.length);
    return draft;
  }
}

function same(at: usize, length: i32, name: string): bool {
  if (length != name.length) return false;
  for (let i = 0; i < length; i++) if (load<u8>(at + i) != name.charCodeAt(i)) return false;
  return true;
}

// The fields that are looked at, as pairs of address and length: one message lives at a time, and so do these.
const enum Field { act, sender, content, conversation, mark, answers, back, rules, words, tongue, count }
const spans = new StaticArray<usize>(2 * Field.count);

// Which field a key is, -1: another. The host writes keys without escapes.
function fieldOf(at: usize, length: i32): i32 {
  switch (length) {
    case 12: return same(at, length, "performative") ? Field.act : -1;
    case 6: return same(at, length, "sender") ? Field.sender : -1;
    case 7: return same(at, length, "content") ? Field.content : -1;
    case 15: return same(at, length, "conversation_id") ? Field.conversation : -1;
    case 10: return same(at, length, "reply_with") ? Field.mark : -1;
    case 11: return same(at, length, "in_reply_to") ? Field.answers : -1;
    case 8: {
      if (same(at, length, "reply_to")) return Field.back;
      if (same(at, length, "protocol")) return Field.rules;
      if (same(at, length, "ontology")) return Field.words;
      return same(at, length, "language") ? Field.tongue : -1;
    }
    default: return -1;
  }
}

function span(field: i32): Json {
  return new Json(unchecked(spans[2 * field]), <i32>unchecked(spans[2 * field + 1]));
}

// One FIPA message, for the time of its turn.
export class Message extends Answering {
  private at: usize = 0;
  private length: i32 = 0;

  // for exports.ts, which has one of these
  read(at: usize, length: i32): Message {
    this.at = at;
    this.length = length;
    for (let i = 0; i < 2 * Field.count; i++) unchecked(spans[i] = 0);
    const end = at + length;
    let p = next(at + 1, end);
    while (p < end && load<u8>(p) != 0x7d) {
      const keyEnd = endOf(p, end), start = next(keyEnd, end), stop = endOf(start, end);
      const field = fieldOf(p + 1, <i32>(keyEnd - p) - 2);
      if (field >= 0) {
        unchecked(spans[2 * field] = start);
        unchecked(spans[2 * field + 1] = stop - start);
      }
      p = next(stop, end);
    }
    return this;
  }

  get whole(): Json { return new Json(this.at, this.length); }
  get performative(): string { return span(Field.act).text(); }
  get sender(): string { return span(Field.sender).text(); }
  get content(): Json { return span(Field.content); }
  get conversationId(): string { return span(Field.conversation).text(); }
  get inReplyTo(): string { return span(Field.answers).text(); }
  get protocol(): string { return span(Field.rules).text(); }

  // Any field, by its name in docs/api.md.
  field(name: string): Json { return this.whole.get(name); }

  // Is it this act?
  is(performative: string): bool {
    // the host writes acts without escapes
    const at = unchecked(spans[2 * Field.act]), length = <i32>unchecked(spans[2 * Field.act + 1]);
    return same(at + 1, length - 2, performative);
  }

  // FIPA: never answer `failure` and `not-understood`, or two agents will complain to each other for ever.
  get isComplaint(): bool { return this.is("failure") || this.is("not-understood"); }

  // What an answer in a later turn needs.
  address(): Address {
    const members = new Buffer();
    this.writeAddress(members);
    return new Address(members);
  }

  protected addressed(performative: string): Draft {
    const draft = Draft.begin(performative);
    this.writeAddress(draft.out);
    return draft;
  }

  private writeAddress(out: Buffer): void {
    put(out, ',"receiver":', unchecked(spans[2 * Field.back + 1]) ? Field.back : Field.sender);
    put(out, ',"conversation_id":', Field.conversation);
    put(out, ',"in_reply_to":', Field.mark);
    put(out, ',"protocol":', Field.rules);
    put(out, ',"ontology":', Field.words);
    put(out, ',"language":', Field.tongue);
  }
}

function put(out: Buffer, name: string, field: i32): void {
  const length = <i32>unchecked(spans[2 * field + 1]);
  if (!length) return;
  out.ascii(name);
  out.raw(unchecked(spans[2 * field]), length);
}
