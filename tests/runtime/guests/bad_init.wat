;; Says that it cannot start.
(module
  (memory (export "memory") 1)
  (func (export "agent_init") (result i32) i32.const 3)
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))
