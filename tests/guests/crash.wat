;; Crashes on every message, by $(HOW).
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))
  (func (export "handle_message") (param $at i32) (param i32) (result i32)
    $(HOW)
    (i32.const 0)))
