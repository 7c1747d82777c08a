;; Logs the same line for ever.
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "again")
  (func (export "handle_message") (param i32 i32) (result i32)
    (loop $ever (call $log (i32.const 1024) (i32.const 5)) (br $ever))
    (i32.const 0)))
