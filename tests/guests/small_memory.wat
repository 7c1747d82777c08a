;; Has $(PAGES) pages of memory, may have no more, and allocates nothing.
(module
  (memory (export "memory") $(PAGES) $(PAGES))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
