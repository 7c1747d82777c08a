package caxton

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// inbox is where the host writes messages. It keeps the buffer and asks again only for a larger one.
var inbox []byte

//go:wasmexport caxton_alloc
func caxtonAlloc(length uint32) unsafe.Pointer {
	inbox = make([]byte, max(length, 8))
	return unsafe.Pointer(unsafe.SliceData(inbox))
}

// attempt makes of an error or a panic the code that the host wants, and tells it the text.
func attempt(act func() error) (code int32) {
	defer func() {
		if thrown := recover(); thrown != nil {
			context.LogError(fmt.Sprintf("panic: %v\n%s", thrown, debug.Stack()))
			tell(fmt.Sprint(thrown))
			code = 1
		}
	}()
	if agent == nil {
		tell("no agent: call caxton.Serve in an init function")
		return 1
	}
	if err := act(); err != nil {
		context.LogError(err.Error())
		tell(err.Error())
		return 1
	}
	return 0
}

func tell(text string) { setError(pointer(text), uint32(len(text))) }

//go:wasmexport agent_init
func agentInit() int32 { return attempt(func() error { return agent.Start(context) }) }

//go:wasmexport agent_shutdown
func agentShutdown() int32 {
	return attempt(func() error { agent.Stop(context); return nil })
}

//go:wasmexport handle_message
func handleMessage(at unsafe.Pointer, length uint32) int32 {
	return attempt(func() error {
		message, err := read(unsafe.Slice((*byte)(at), length))
		if err != nil {
			return err
		}
		return agent.Handle(message, context)
	})
}

//go:wasmexport handle_timer
func handleTimer(timer uint32) int32 {
	return attempt(func() error { return agent.Timer(timer, context) })
}

//go:wasmexport health_check
func healthCheck() int32 { return attempt(func() error { return agent.Health(context) }) }

//go:wasmexport get_capabilities
func getCapabilities(at unsafe.Pointer, room uint32) int32 {
	if agent == nil || len(agent.Capabilities()) == 0 {
		return 0
	}
	text, _ := json.Marshal(map[string][]string{"capabilities": agent.Capabilities()})
	if len(text) > int(room) {
		return 0
	}
	return int32(copy(unsafe.Slice((*byte)(at), room), text))
}
