;; Traps while it is instantiated.
(module
  (memory (export "memory") 1)
  (func $start unreachable)
  (start $start)
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
