;; Traps on every message.
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) unreachable))
