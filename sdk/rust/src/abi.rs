//! The imports of ABI 1 (docs/agents.md). The only place with pointers, beside the exports in agent.rs.

#[link(wasm_import_module = "caxton")]
extern "C" {
    pub fn send_message(json: *const u8, length: usize) -> i32;
    pub fn broadcast_message(filter: *const u8, filter_length: usize, json: *const u8, length: usize) -> i32;
    pub fn subscribe_messages(filter: *const u8, length: usize) -> i32;
    pub fn console_log(text: *const u8, length: usize);
    pub fn console_error(text: *const u8, length: usize);
    pub fn current_timestamp() -> i64;
    pub fn random_u32() -> u32;
    pub fn sleep_micros(duration: i64);
    pub fn set_timer(delay: i64) -> i32;
    pub fn cancel_timer(id: i32) -> i32;
    pub fn store_data(key: *const u8, key_length: usize, value: *const u8, length: usize) -> i32;
    pub fn load_data(key: *const u8, key_length: usize, out: *mut u8, room: usize) -> i32;
    pub fn delete_data(key: *const u8, key_length: usize) -> i32;
    pub fn mcp_call(request: *const u8, length: usize, out: *mut u8, room: usize) -> i32;
    pub fn memory_search(request: *const u8, length: usize, out: *mut u8, room: usize) -> i32;
    pub fn last_error(out: *mut u8, room: usize) -> i32;
    pub fn set_error(text: *const u8, length: usize);
}
