;; Its init returns an error code.
(module
  (memory (export "memory") 1)
  (func (export "init") (result i32) (i32.const 7))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
