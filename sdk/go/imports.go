package caxton

import "unsafe"

// The imports of ABI 1 (docs/agents.md). The host copies what it is given before it returns.

//go:wasmimport caxton send_message
func sendMessage(text unsafe.Pointer, length uint32) int32

//go:wasmimport caxton broadcast_message
func broadcastMessage(filter unsafe.Pointer, filterLength uint32, text unsafe.Pointer, length uint32) int32

//go:wasmimport caxton subscribe_messages
func subscribeMessages(filter unsafe.Pointer, length uint32) int32

//go:wasmimport caxton console_log
func consoleLog(text unsafe.Pointer, length uint32)

//go:wasmimport caxton console_error
func consoleError(text unsafe.Pointer, length uint32)

//go:wasmimport caxton set_timer
func setTimer(microseconds int64) int32

//go:wasmimport caxton cancel_timer
func cancelTimer(id uint32) int32

//go:wasmimport caxton store_data
func storeData(key unsafe.Pointer, keyLength uint32, value unsafe.Pointer, length uint32) int32

//go:wasmimport caxton load_data
func loadData(key unsafe.Pointer, keyLength uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport caxton delete_data
func deleteData(key unsafe.Pointer, keyLength uint32) int32

//go:wasmimport caxton mcp_call
func mcpCall(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport caxton memory_search
func memorySearch(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport caxton last_error
func lastError(out unsafe.Pointer, room uint32) int32

//go:wasmimport caxton set_error
func setError(text unsafe.Pointer, length uint32)

//go:wasmimport caxton sleep_micros
func sleepMicros(microseconds int64)

func pointer(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }

func pointerTo(data []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(data)) }
