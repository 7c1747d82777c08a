;; Sends the message $(TEXT) twice for its first message, in one turn.
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "$(TEXT)")
  (global $done (mut i32) (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32)
    (if (global.get $done) (then (return (i32.const 0))))
    (global.set $done (i32.const 1))
    (i32.or
      (call $send (i32.const 1024) (i32.const $(LENGTH)))
      (call $send (i32.const 1024) (i32.const $(LENGTH))))))
