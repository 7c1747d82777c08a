// JSON as it arrives: a value is a span of the message's bytes, read where it is needed and copied as it is.
// What arrives was checked by the host (JSON, UTF-8, no key twice), so the reader only has to stay inside it.
import { Buffer } from "./buffer";

function isSpace(c: u32): bool { return c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09; }

// from behind an opening quote to behind the closing one; eight bytes at a time
function endOfString(p: usize, end: usize): usize {
  const ones: u64 = 0x0101010101010101, high: u64 = 0x8080808080808080;
  while (p < end) {
    while (p + 8 <= end) {
      const word = load<u64>(p);
      const quote = word ^ (ones * 0x22), slash = word ^ (ones * 0x5c);
      const found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high;
      if (found) {
        p += <usize>(ctz(found) >> 3);
        break;
      }
      p += 8;
    }
    if (p >= end) return end;
    const c = load<u8>(p);
    if (c == 0x22) return p + 1;
    p += c == 0x5c ? 2 : 1;
  }
  return end;
}

// behind the value that starts at p: nesting is counted, not recursed into
export function endOf(p: usize, end: usize): usize {
  let depth = 0;
  while (p < end) {
    const c = load<u8>(p);
    if (c == 0x22) {
      p = endOfString(p + 1, end);
    } else if (c == 0x7b || c == 0x5b) {
      depth++;
      p++;
    } else if (c == 0x7d || c == 0x5d) {
      depth--;
      p++;
    } else if (depth == 0) {
      while (p < end) {
        const d = load<u8>(p);
        if (d == 0x2c || d == 0x7d || d == 0x5d || isSpace(d)) break;
        p++;
      }
      return p;
    } else {
      p++;
      continue;
    }
    if (depth == 0) return p;
  }
  return end;
}

// behind what separates values and keys
export function next(p: usize, end: usize): usize {
  while (p < end) {
    const c = load<u8>(p);
    if (!isSpace(c) && c != 0x2c && c != 0x3a) break;
    p++;
  }
  return p;
}

export class Json {
  // *owner* keeps the bytes alive; null: they are the message's, for the time of its turn
  constructor(readonly at: usize, readonly length: i32, private owner: ArrayBuffer | null = null) {}

  static parse(text: string): Json {
    const bytes = String.UTF8.encode(text);
    return Json.of(bytes, bytes.byteLength);
  }

  static of(bytes: ArrayBuffer, length: i32): Json {
    return new Json(changetype<usize>(bytes), length, bytes);
  }

  static get null(): Json { return Json.parse("null"); }

  get exists(): bool { return this.length > 0; }

  get isNull(): bool { return this.length == 4 && load<u8>(this.at) == 0x6e; }

  private get end(): usize { return this.at + this.length; }

  private part(from: usize, to: usize): Json { return new Json(from, <i32>(to - from), this.owner); }

  private opens(bracket: u32): bool { return this.length > 0 && load<u8>(this.at) == bracket; }

  // A member of an object; `exists` is false when there is none.
  get(name: string): Json {
    if (this.opens(0x7b)) {
      const end = this.end;
      let p = next(this.at + 1, end);
      while (p < end && load<u8>(p) != 0x7d) {
        const keyEnd = endOf(p, end), value = next(keyEnd, end), valueEnd = endOf(value, end);
        if (this.part(p, keyEnd).is(name)) return this.part(value, valueEnd);
        p = next(valueEnd, end);
      }
    }
    return this.part(this.at, this.at);
  }

  // The elements of an array.
  items(): Json[] {
    const found: Json[] = [];
    if (this.opens(0x5b)) {
      const end = this.end;
      let p = next(this.at + 1, end);
      while (p < end && load<u8>(p) != 0x5d) {
        const stop = endOf(p, end);
        found.push(this.part(p, stop));
        p = next(stop, end);
      }
    }
    return found;
  }

  get isText(): bool { return this.opens(0x22); }

  // A string, decoded; "" of anything else.
  text(): string {
    if (!this.isText) return "";
    const from = this.at + 1, length = this.length - 2;
    for (let i = 0; i < length; i++) if (load<u8>(from + i) == 0x5c) return this.unescape();
    return String.UTF8.decodeUnsafe(from, length);
  }

  private unescape(): string {
    const out = new Buffer();
    let p = this.at + 1;
    const end = this.end - 1;
    let units = "";
    while (p < end) {
      const c = load<u8>(p++);
      if (c != 0x5c) {
        out.byte(c);
        continue;
      }
      const kind = load<u8>(p++);
      if (kind != 0x75) {
        out.byte(kind == 0x62 ? 8 : kind == 0x66 ? 12 : kind == 0x6e ? 10 : kind == 0x72 ? 13 : kind == 0x74 ? 9 : kind);
        continue;
      }
      // \uXXXX is a unit of UTF-16, and so is what our strings are made of: two in a row make a character
      const unit = <i32>parseInt(String.UTF8.decodeUnsafe(p, 4), 16);
      p += 4;
      units += out.toString() + String.fromCharCode(unit);
      out.length = 0;
    }
    return units + out.toString();
  }

  // Is it this string?
  is(plain: string): bool {
    const length = plain.length;
    if (this.length == length + 2 && this.isText) {
      // the usual case: ASCII without escapes
      let i = 0;
      while (i < length) {
        const c = load<u8>(this.at + 1 + i);
        if (c >= 0x80 || c == 0x5c || c != plain.charCodeAt(i)) break;
        i++;
      }
      if (i == length) return true;
    }
    return this.isText && this.text() == plain;
  }

  number(): f64 { return parseFloat(this.raw()); }

  integer(): i64 { return <i64>parseFloat(this.raw()); }

  boolean(): bool { return this.length == 4 && load<u8>(this.at) == 0x74; }

  // The text itself.
  raw(): string { return String.UTF8.decodeUnsafe(this.at, this.length); }

  write(out: Buffer): void {
    if (this.length) out.raw(this.at, this.length);
    else out.ascii("null");
  }
}

// A JSON object in the making: new JsonObject().with("price", 7).with("item", "book").
export class JsonObject {
  private out: Buffer = new Buffer();

  with<T>(name: string, value: T): JsonObject {
    this.out.byte(this.out.length ? 0x2c : 0x7b);
    this.out.quote(name);
    this.out.byte(0x3a);
    this.out.value<T>(value);
    return this;
  }

  write(out: Buffer): void {
    if (!this.out.length) out.byte(0x7b);
    out.raw(this.out.at, this.out.length);
    out.byte(0x7d);
  }
}
