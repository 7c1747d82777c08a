;; Takes every message and says nothing. It holds "$(TEXT)", so that there are several of it.
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "$(TEXT)")
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
