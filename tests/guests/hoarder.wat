;; Calls $(CALL) for ever, within one turn.
(module
  (import "caxton" "set_timer" (func $timer (param i64) (result i32)))
  (import "caxton" "cancel_timer" (func $cancel (param i32) (result i32)))
  (import "caxton" "subscribe_messages" (func $subscribe (param i32 i32) (result i32)))
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $n (mut i32) (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (memory.fill (i32.const 0) (i32.const 32) (i32.const 0x20000))
    (i32.store8 (i32.const 0) (i32.const 123))
    (loop $ever
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (i32.store (i32.const 0x30000) (i32.and (global.get $n) (i32.const 0x7f7f7f7f)))
      (drop $(CALL))
      (br $ever))
    (i32.const 0)))
