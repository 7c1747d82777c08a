;; Its init never comes back.
(module
  (memory (export "memory") 1)
  (func (export "init") (loop $ever (br $ever)))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
