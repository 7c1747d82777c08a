// Package caxton is for agents of Caxton in Go.
//
//	package main
//
//	import "caxton"
//
//	type hello struct{ caxton.Base }
//
//	func (hello) Handle(message *caxton.Message, ctx *caxton.Context) error {
//		return ctx.Send(message.Inform("hello"))
//	}
//
//	func init() { caxton.Serve(hello{}) }
//	func main() {}
//
// Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared; docs/sdk-go.md is the manual. What a turn does
// (messages, timers, state) takes effect when Handle returns nil, or not at all.
package caxton

// Agent is what an agent is made of. Embed Base, and write the methods you need.
type Agent interface {
	// Capabilities are what others find the agent by: capability:pricing.
	Capabilities() []string
	// Start is called at the start of every instance; an error is a failed start.
	Start(ctx *Context) error
	// Handle takes one message. An error is a failed message: what the turn did is undone, and the sender gets a
	// FIPA failure with its text.
	Handle(message *Message, ctx *Context) error
	// Timer is called when a timer is due.
	Timer(timer uint32, ctx *Context) error
	// Health says with an error that the agent does not feel well.
	Health(ctx *Context) error
	// Stop is called before an orderly stop.
	Stop(ctx *Context)
}

// Base does nothing in every method but Handle, which an agent has to write.
type Base struct{}

func (Base) Capabilities() []string               { return nil }
func (Base) Start(ctx *Context) error             { return nil }
func (Base) Timer(timer uint32, _ *Context) error { return nil }
func (Base) Health(ctx *Context) error            { return nil }
func (Base) Stop(ctx *Context)                    {}

var (
	agent   Agent
	context = &Context{}
)

// Serve says which agent this module is: func init() { caxton.Serve(...) }.
func Serve(a Agent) { agent = a }
