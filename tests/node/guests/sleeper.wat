;; Writes "began", sleeps for an hour over every message, and writes "bye" at its end.
(module
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "beganbye")
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 5))
    (call $sleep (i64.const 3600000000))
    (i32.const 0))
  (func (export "agent_shutdown") (call $log (i32.const 5) (i32.const 3))))
