;; Sends $(BATCH) numbered messages in a turn, and one to itself to go on, until there were $(TOTAL).
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (memory (export "memory") 2)
  (global $n (mut i64) (i64.const 0))
  (data (i32.const 2048) "$(MESSAGE)")
  (data (i32.const 3072) "$(AGAIN)")
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "handle_message") (param i32 i32) (result i32)
    (local $batch i32) (local $i i32) (local $digit i32)
    (if (i64.ge_s (i64.const $(PAUSE)) (i64.const 0)) (then (call $sleep (i64.const $(PAUSE)))))
    (local.set $batch (i32.const $(BATCH)))
    (block $done
      (loop $more
        (br_if $done (i64.ge_u (global.get $n) (i64.const $(TOTAL))))
        (global.set $n (i64.add (global.get $n) (i64.const 1)))
        (local.set $i (i32.const 0))
        (loop $next
          (local.set $digit (i32.and (i32.const 15)
            (i32.wrap_i64 (i64.shr_u (global.get $n) (i64.extend_i32_u (i32.shl (local.get $i) (i32.const 2)))))))
          (i32.store8 (i32.sub (i32.const $(LAST)) (local.get $i))
            (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const 12))))
        (if (call $send (i32.const 2048) (i32.const $(LENGTH))) (then unreachable))
        (br_if $more (local.tee $batch (i32.sub (local.get $batch) (i32.const 1)))))
      (if (call $send (i32.const 3072) (i32.const $(AGAIN_LENGTH))) (then unreachable)))
    (i32.const 0)))
