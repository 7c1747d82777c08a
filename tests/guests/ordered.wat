;; Takes `#SSSSNNNNNNNNNNNN`, a sender and a number, and traps unless each sender's numbers are 1, 2, 3 and so on.
(module
  (memory (export "memory") 16)
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 0x81000))
  (func $digits (param $at i32) (param $count i32) (result i64)
    (local $value i64) (local $digit i32)
    (loop $more
      (local.set $digit (i32.load8_u (local.get $at)))
      (local.set $digit (select (i32.sub (local.get $digit) (i32.const 87)) (i32.sub (local.get $digit) (i32.const 48))
        (i32.gt_u (local.get $digit) (i32.const 57))))
      (local.set $value (i64.or (i64.shl (local.get $value) (i64.const 4)) (i64.extend_i32_u (local.get $digit))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (local.get $value))
  (func (export "handle_message") (param $at i32) (param i32) (result i32)
    (local $last i32)
    (loop $seek
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $seek (i32.ne (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 35))))
    (local.set $last (i32.shl (i32.wrap_i64 (call $digits (local.get $at) (i32.const 4))) (i32.const 3)))
    (i64.store (local.get $last) (i64.add (i64.load (local.get $last)) (i64.const 1)))
    (if (i64.ne (i64.load (local.get $last)) (call $digits (i32.add (local.get $at) (i32.const 4)) (i32.const 12)))
      (then unreachable))
    (i32.const 0)))
