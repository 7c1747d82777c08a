;; Counts each message in key-value state, by its number, and passes it on.
;; Content: "#", the number in 16 hex digits, ":", the number times 0x9e3779b97f4a7c15 in 16 hex digits, and whatever follows.
;; State: under number >> 7 (4 bytes) 128 counters of a byte each; under "!" something, when a message or a value was wrong.
;; A number whose last 11 bits are 1776 it refuses, always.
;; $(TEXT) is the message that is passed on, its 34 characters at $(AT) replaced, when the number has no bit of $(MASK).
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "load_data" (func $load (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 256) "!")
  (data (i32.const 1024) "$(TEXT)")
  (func (export "caxton_alloc") (param i32) (result i32)
    (select (i32.const 0x10000) (i32.const 0) (i32.le_u (local.get 0) (i32.const 0x30000))))
  (func $digits (param $at i32) (result i64)
    (local $value i64) (local $digit i32) (local $count i32)
    (local.set $count (i32.const 16))
    (loop $more
      (local.set $digit (i32.load8_u (local.get $at)))
      (local.set $digit (select (i32.sub (local.get $digit) (i32.const 87)) (i32.sub (local.get $digit) (i32.const 48))
        (i32.gt_u (local.get $digit) (i32.const 57))))
      (local.set $value (i64.or (i64.shl (local.get $value) (i64.const 4)) (i64.extend_i32_u (local.get $digit))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (local.get $value))
  (func $complain
    (if (call $store (i32.const 256) (i32.const 1) (i32.const 256) (i32.const 1)) (then unreachable)))
  (func (export "handle_message") (param $at i32) (param $length i32) (result i32)
    (local $end i32) (local $number i64) (local $found i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $begin
      (loop $seek
        (br_if $begin (i32.eq (i32.load8_u (local.get $at)) (i32.const 35)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $seek (i32.lt_u (local.get $at) (local.get $end))))
      (return (i32.const 0))) ;; not one of ours: a `failure` of the platform
    (local.set $number (call $digits (i32.add (local.get $at) (i32.const 1))))
    (if (i64.ne (call $digits (i32.add (local.get $at) (i32.const 18)))
                (i64.mul (local.get $number) (i64.const 0x9e3779b97f4a7c15)))
      (then (call $complain) (return (i32.const 0))))
    (if (i64.eq (i64.and (local.get $number) (i64.const 2047)) (i64.const 1776)) (then (return (i32.const 7))))
    (i32.store (i32.const 512) (i32.wrap_i64 (i64.shr_u (local.get $number) (i64.const 7))))
    (local.set $found (call $load (i32.const 512) (i32.const 4) (i32.const 768) (i32.const 128)))
    (if (i32.eq (local.get $found) (i32.const -101))
      (then (memory.fill (i32.const 768) (i32.const 0) (i32.const 128)))
      (else (if (i32.ne (local.get $found) (i32.const 128)) (then (call $complain) (return (i32.const 0))))))
    (local.set $found (i32.add (i32.const 768) (i32.and (i32.wrap_i64 (local.get $number)) (i32.const 127))))
    (if (i32.lt_u (i32.load8_u (local.get $found)) (i32.const 255))
      (then (i32.store8 (local.get $found) (i32.add (i32.load8_u (local.get $found)) (i32.const 1)))))
    (if (call $store (i32.const 512) (i32.const 4) (i32.const 768) (i32.const 128)) (then unreachable))
    (if (i64.eqz (i64.and (local.get $number) (i64.const $(MASK))))
      (then
        (memory.copy (i32.const $(AT)) (local.get $at) (i32.const 34))
        (if (call $send (i32.const 1024) (i32.const $(LENGTH))) (then unreachable))))
    (i32.const 0)))
