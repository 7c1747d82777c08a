;; Broadcasts the message $(MESSAGE) to those that $(SELECTOR) names.
(module
  (import "caxton" "broadcast_message" (func $broadcast (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "$(SELECTOR)")
  (data (i32.const 4096) "$(MESSAGE)")
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $broadcast (i32.const 1024) (i32.const $(SELECTOR_LENGTH)) (i32.const 4096) (i32.const $(LENGTH))))
    (i32.const 0)))
