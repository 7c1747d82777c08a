;; Its init says why it fails.
(module
  (import "caxton" "set_error" (func $set_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "no licence for Zo\c3\ab")
  (func (export "init") (result i32)
    (call $set_error (i32.const 16) (i32.const 19))
    (i32.const 1))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
