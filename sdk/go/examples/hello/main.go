// hello greets whoever writes to it.
package main

import "caxton"

type hello struct{ caxton.Base }

func (hello) Handle(message *caxton.Message, ctx *caxton.Context) error {
	var name string
	if err := message.Decode(&name); err != nil {
		return ctx.Send(message.NotUnderstood("I need a name"))
	}
	return ctx.Send(message.Inform("hello, " + name))
}

func init() { caxton.Serve(hello{}) }
func main() {}
