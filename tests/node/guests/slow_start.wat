;; Its init sleeps for an hour.
(module
  (import "caxton" "sleep_micros" (func $sleep (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "agent_init") (result i32) (call $sleep (i64.const 3600000000)))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
