;; Subscribes to $(TEXT) when it starts, and writes "heard" for every message.
(module
  (import "caxton" "subscribe_messages" (func $subscribe (param i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "heard")
  (data (i32.const 1024) "$(TEXT)")
  (func (export "agent_init") (result i32)
    (drop (call $subscribe (i32.const 1024) (i32.const $(LENGTH))))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 5))
    (i32.const 0)))
