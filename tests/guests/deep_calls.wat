;; Calls itself and the host, deeper and deeper.
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "broadcast_message" (func $broadcast (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 2048) "{\"performative\":\"inform\",\"receiver\":[\"a\",\"b\",\"c\"],\"content\":[[[[1]]]]}")
  (data (i32.const 3072) "{\"agents\":[\"a\",\"b\"]}")
  (func $deeper (param i32) (result i32)
    (drop (call $send (i32.const 2048) (i32.const 71)))
    (drop (call $broadcast (i32.const 3072) (i32.const 20) (i32.const 2048) (i32.const 71)))
    (i32.add (call $deeper (local.get 0)) (i32.const 1)))
  (func (export "handle_message") (param i32 i32) (result i32) (call $deeper (local.get 0))))
