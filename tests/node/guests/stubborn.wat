;; Will not stop: its shutdown never comes back.
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0))
  (func (export "agent_shutdown") (loop $again (br $again))))
