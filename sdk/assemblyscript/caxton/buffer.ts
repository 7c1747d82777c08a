// UTF-8 bytes in the making. AssemblyScript's strings are UTF-16, messages are UTF-8: what only passes through stays bytes.
export class Buffer {
  private data: ArrayBuffer = new ArrayBuffer(1024);
  length: i32 = 0;

  get at(): usize { return changetype<usize>(this.data); }

  private room(more: i32): void {
    const wanted = this.length + more;
    let size = this.data.byteLength;
    if (wanted <= size) return;
    while (size < wanted) size *= 2;
    const larger = new ArrayBuffer(size);
    memory.copy(changetype<usize>(larger), this.at, this.length);
    this.data = larger;
  }

  byte(value: u32): void {
    this.room(1);
    store<u8>(this.at + this.length++, <u8>value);
  }

  raw(at: usize, length: i32): void {
    this.room(length);
    let to = this.at + this.length, left = length;
    if (left <= 128) {
      // calling memory.copy costs more than this
      for (; left >= 8; left -= 8, to += 8, at += 8) store<u64>(to, load<u64>(at));
      for (; left; left--, to++, at++) store<u8>(to, load<u8>(at));
    } else {
      memory.copy(to, at, left);
    }
    this.length += length;
  }

  // names and punctuation of our own: ASCII
  ascii(text: string): void {
    const length = text.length;
    this.room(length);
    const to = this.at + this.length, from = changetype<usize>(text);
    for (let i = 0; i < length; i++) store<u8>(to + i, <u8>load<u16>(from + (i << 1)));
    this.length += length;
  }

  private character(c: u32): void {
    if (c < 0x80) {
      this.byte(c);
    } else if (c < 0x800) {
      this.byte(0xc0 | (c >> 6));
      this.byte(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
      this.byte(0xe0 | (c >> 12));
      this.byte(0x80 | ((c >> 6) & 0x3f));
      this.byte(0x80 | (c & 0x3f));
    } else {
      this.byte(0xf0 | (c >> 18));
      this.byte(0x80 | ((c >> 12) & 0x3f));
      this.byte(0x80 | ((c >> 6) & 0x3f));
      this.byte(0x80 | (c & 0x3f));
    }
  }

  // plain text; half a character becomes U+FFFD
  text(text: string, escaped: bool = false): void {
    const length = text.length;
    for (let i = 0; i < length; i++) {
      let c: u32 = text.charCodeAt(i);
      if (c >= 0xd800 && c < 0xe000) {
        const low: u32 = i + 1 < length ? text.charCodeAt(i + 1) : 0;
        if (c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
          c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
          i++;
        } else {
          c = 0xfffd;
        }
      }
      if (escaped && (c == 0x22 || c == 0x5c)) {
        this.byte(0x5c);
      } else if (escaped && c < 0x20) {
        this.ascii("\\u00");
        this.byte(0x30 + (c >> 4));
        c &= 15;
        c += c < 10 ? 0x30 : 0x57;
      }
      this.character(c);
    }
  }

  // a JSON string
  quote(text: string): void {
    this.byte(0x22);
    this.text(text, true);
    this.byte(0x22);
  }

  // any value that can be content: text, numbers, bool, Json, JsonObject, arrays of these
  value<T>(value: T): void {
    if (isBoolean<T>()) {
      this.ascii(value ? "true" : "false");
    } else if (isInteger<T>()) {
      this.ascii(value.toString());
    } else if (isFloat<T>()) {
      this.ascii(isFinite(value) ? value.toString() : "null");
    } else if (isString<T>()) {
      this.quote(value as string);
    } else if (isArray<T>()) {
      this.byte(0x5b);
      for (let i = 0; i < value.length; i++) {
        if (i) this.byte(0x2c);
        this.value<valueof<T>>(value[i]);
      }
      this.byte(0x5d);
    } else {
      value.write(this);
    }
  }

  toString(): string { return String.UTF8.decodeUnsafe(this.at, this.length); }
}
