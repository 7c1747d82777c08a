;; Sets a timer of an hour for every message, and writes "ring" when one comes.
(module
  (import "caxton" "set_timer" (func $set (param i64) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "ring")
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $set (i64.const 3600000000)))
    (i32.const 0))
  (func (export "handle_timer") (param i32) (result i32)
    (call $log (i32.const 0) (i32.const 4))
    (i32.const 0)))
