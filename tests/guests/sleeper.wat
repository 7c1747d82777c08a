;; Sleeps for half a minute over every message.
(module
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) (call $sleep (i64.const 30000000)) (i32.const 0)))
