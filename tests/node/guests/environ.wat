;; Logs its environment, NAME=value and a NUL for each variable.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 2)
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $sizes (i32.const 64) (i32.const 68)))
    (drop (call $get (i32.const 128) (i32.const 4096)))
    (call $log (i32.const 4096) (i32.load (i32.const 68)))
    (i32.const 0)))
