;; Sends $(TEXT) for its first message, whatever comes of it.
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $sent (mut i32) (i32.const 0))
  (data (i32.const 1024) "$(TEXT)")
  (func (export "handle_message") (param i32 i32) (result i32)
    (if (i32.eqz (global.get $sent))
      (then
        (global.set $sent (i32.const 1))
        (drop (call $send (i32.const 1024) (i32.const $(LENGTH))))))
    (i32.const 0)))
