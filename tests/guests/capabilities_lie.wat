;; Says that its capabilities are $(LENGTH) bytes long.
(module
  (memory (export "memory") 2)
  (func (export "get_capabilities") (param i32 i32) (result i32) (i32.const $(LENGTH)))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
