;; Grows its table by a thousand elements until that fails, and traps unless that was at $(LIMIT) elements.
(module
  (memory (export "memory") 1)
  (table $t 0 funcref)
  (func (export "handle_message") (param i32 i32) (result i32)
    (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (if (i32.ne (table.size $t) (i32.const $(LIMIT))) (then unreachable))
    (i32.const 0)))
