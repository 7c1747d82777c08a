// The imports of ABI 1 (docs/agents.md). The host copies what it is given before it returns.
@external("caxton", "send_message")
export declare function send_message(text: usize, length: usize): i32;
@external("caxton", "broadcast_message")
export declare function broadcast_message(filter: usize, filterLength: usize, text: usize, length: usize): i32;
@external("caxton", "subscribe_messages")
export declare function subscribe_messages(filter: usize, length: usize): i32;
@external("caxton", "console_log")
export declare function console_log(text: usize, length: usize): void;
@external("caxton", "console_error")
export declare function console_error(text: usize, length: usize): void;
@external("caxton", "current_timestamp")
export declare function current_timestamp(): i64;
@external("caxton", "random_u32")
export declare function random_u32(): u32;
@external("caxton", "sleep_micros")
export declare function sleep_micros(duration: i64): void;
@external("caxton", "set_timer")
export declare function set_timer(delay: i64): i32;
@external("caxton", "cancel_timer")
export declare function cancel_timer(id: i32): i32;
@external("caxton", "store_data")
export declare function store_data(key: usize, keyLength: usize, value: usize, length: usize): i32;
@external("caxton", "load_data")
export declare function load_data(key: usize, keyLength: usize, out: usize, room: usize): i32;
@external("caxton", "delete_data")
export declare function delete_data(key: usize, keyLength: usize): i32;
@external("caxton", "mcp_call")
export declare function mcp_call(request: usize, length: usize, out: usize, room: usize): i32;
@external("caxton", "memory_search")
export declare function memory_search(request: usize, length: usize, out: usize, room: usize): i32;
@external("caxton", "last_error")
export declare function last_error(out: usize, room: usize): i32;
@external("caxton", "set_error")
export declare function set_error(text: usize, length: usize): void;
