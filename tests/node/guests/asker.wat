;; Calls a tool for every message, and writes what last_error says.
(module
  (import "caxton" "mcp_call" (func $tool (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "last_error" (func $why (param i32 i32) (result i32)))
  (import "caxton" "console_error" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\22tool\22:\22x\22}")
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $tool (i32.const 0) (i32.const 12) (i32.const 64) (i32.const 100)))
    (call $log (i32.const 256) (call $why (i32.const 256) (i32.const 500)))
    (i32.const 0)))
