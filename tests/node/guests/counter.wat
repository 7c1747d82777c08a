;; Counts its messages, in one digit of key-value state, and writes the count.
(module
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "load_data" (func $load (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "count")
  (func (export "handle_message") (param i32 i32) (result i32)
    (if (i32.le_s (call $load (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 1)) (i32.const 0))
      (then (i32.store8 (i32.const 16) (i32.const 48))))
    (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1)))
    (drop (call $store (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 1)))
    (call $log (i32.const 16) (i32.const 1))
    (i32.const 0)))
