;; Asks for memory page by page and writes into each, and never stops asking.
(module
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32)
    (local $page i32)
    (loop $ever
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.ne (local.get $page) (i32.const -1))
        (then (memory.fill (i32.mul (local.get $page) (i32.const 65536)) (i32.const 7) (i32.const 65536))))
      (br $ever))
    (i32.const 0)))
