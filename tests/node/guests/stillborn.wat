;; Stores a value under "left", then says that it cannot start.
(module
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "left")
  (func (export "agent_init") (result i32)
    (drop (call $store (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))
    (i32.const 3))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
