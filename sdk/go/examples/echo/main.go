// echo answers every message with its content.
package main

import "caxton"

type echo struct{ caxton.Base }

func (echo) Handle(message *caxton.Message, ctx *caxton.Context) error {
	if message.IsComplaint() {
		return nil
	}
	return ctx.Send(message.Inform(message.Content))
}

func init() { caxton.Serve(echo{}) }
func main() {}
