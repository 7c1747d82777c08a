;; Writes "starting" in its init, and sleeps for an hour.
(module
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "starting")
  (func (export "agent_init") (result i32)
    (call $log (i32.const 0) (i32.const 8))
    (call $sleep (i64.const 3600000000))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
