;; Sends the message $(MESSAGE) $(COUNT) times in every turn; gives back the first error.
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 2048) "$(MESSAGE)")
  (func (export "handle_message") (param i32 i32) (result i32)
    (local $n i32) (local $code i32)
    (local.set $n (i32.const $(COUNT)))
    (loop $more
      (local.set $code (call $send (i32.const 2048) (i32.const $(LENGTH))))
      (if (local.get $code) (then (return (local.get $code))))
      (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 0)))
