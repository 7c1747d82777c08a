;; Sends the message $(TEXT) for every message.
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "$(TEXT)")
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $send (i32.const 1024) (i32.const $(LENGTH)))))
