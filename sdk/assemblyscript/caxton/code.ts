// What a call to the host ends with. AssemblyScript cannot catch exceptions, so calls return one of these.
export enum Code {
  ok = 0,
  invalidMessage = -1,
  noReceiver = -2,
  mailboxFull = -3,
  tooLarge = -4,
  stopped = -5,
  tooManyHops = -6,
  outOfMemory = -7,
  limit = -8,
  storeFailed = -9,
  pointer = -100,
  notFound = -101,
  invalidArgument = -102,
  quota = -103,
  unavailable = -104,
  failed = -105,
}

// The name that every SDK has for it, such as `no-receiver`.
export function nameOf(code: Code): string {
  switch (code) {
    case Code.ok: return "ok";
    case Code.invalidMessage: return "invalid-message";
    case Code.noReceiver: return "no-receiver";
    case Code.mailboxFull: return "mailbox-full";
    case Code.tooLarge: return "too-large";
    case Code.stopped: return "stopped";
    case Code.tooManyHops: return "too-many-hops";
    case Code.outOfMemory: return "out-of-memory";
    case Code.limit: return "limit";
    case Code.storeFailed: return "store-failed";
    case Code.notFound: return "not-found";
    case Code.invalidArgument: return "invalid-argument";
    case Code.quota: return "quota";
    case Code.unavailable: return "unavailable";
    default: return "failed";
  }
}
