;; Logs `busy`, computes for some tens of milliseconds, then sleeps for an hour.
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "busy")
  (func (export "handle_message") (param i32 i32) (result i32)
    (local $n i32)
    (call $log (i32.const 1024) (i32.const 4))
    (local.set $n (i32.const 100000000))
    (loop $more (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (call $sleep (i64.const 3600000000))
    (i32.const 0)))
