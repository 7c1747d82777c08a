// Does what sdk/acceptance/scenarios.yaml asks of an agent in any language.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"caxton"
)

type asked struct {
	Do        string          `json:"do"`
	Value     json.RawMessage `json:"value"`
	With      string          `json:"with"`
	To        string          `json:"to"`
	Agents    []string        `json:"agents"`
	Topic     string          `json:"topic"`
	Key       string          `json:"key"`
	Then      string          `json:"then"`
	Seconds   float64         `json:"seconds"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Line      string          `json:"line"`
}

func (a asked) duration() time.Duration { return time.Duration(a.Seconds * float64(time.Second)) }

type fields map[string]any

var errOnPurpose = errors.New("broken on purpose")

type acceptance struct {
	caxton.Base
	waiting map[uint32]*caxton.Message
}

func (*acceptance) Capabilities() []string { return []string{"acceptance"} }

func (*acceptance) Start(ctx *caxton.Context) error {
	ctx.Log("started")
	return nil
}

// told makes a value of what the host says no to.
func told(err error, done string) (any, error) {
	var known *caxton.Error
	if errors.As(err, &known) {
		return fields{"error": known.Code}, nil
	}
	return fields{done: true}, err
}

func (a *acceptance) Handle(message *caxton.Message, ctx *caxton.Context) error {
	var request asked
	if message.Decode(&request) != nil || request.Do == "" {
		return nil // an inform of a partner
	}
	switch request.Do {
	case "echo":
		return ctx.Send(message.Inform(request.Value))
	case "reply":
		return ctx.Send(reply(message, request))
	case "work":
		if err := ctx.Send(message.Agree(nil)); err != nil {
			return err
		}
		return ctx.Send(message.Inform(request.Value))
	case "timer":
		timer, err := ctx.SetTimer(request.duration())
		a.waiting[timer] = message
		return err
	}
	answer, err := act(request, ctx)
	if err != nil {
		return err
	}
	return ctx.Send(message.Inform(answer))
}

func reply(message *caxton.Message, request asked) caxton.Draft {
	switch request.With {
	case "refuse":
		return message.Refuse(request.Value)
	case "failure":
		return message.Failure(request.Value)
	case "propose":
		return message.Propose(request.Value)
	case "not-understood":
		return message.NotUnderstood(request.Value)
	}
	return message.Inform(request.Value)
}

func act(request asked, ctx *caxton.Context) (any, error) {
	switch request.Do {
	case "send":
		return told(ctx.Send(caxton.Draft{Performative: "inform", Receiver: request.To, Content: "hello"}), "sent")
	case "broadcast":
		audience := caxton.Audience{Agents: request.Agents}
		count, err := ctx.Broadcast(audience, caxton.Draft{Performative: "inform", Content: "hello"})
		return fields{"receivers": count}, err
	case "subscribe":
		return told(ctx.Subscribe(request.Topic), "subscribed")
	case "set":
		if err := ctx.Set(request.Key, request.Value); err != nil {
			return nil, err
		}
		if request.Then == "fail" {
			return nil, errOnPurpose
		}
		return fields{"set": true}, nil
	case "get":
		var value any
		_, err := ctx.Get(request.Key, &value)
		return fields{"value": value}, err
	case "remove":
		removed, err := ctx.Remove(request.Key)
		return fields{"removed": removed}, err
	case "cancel":
		timer, err := ctx.SetTimer(time.Minute)
		if err != nil {
			return nil, err
		}
		return told(ctx.CancelTimer(timer), "cancelled")
	case "tool":
		var answer any
		if err := ctx.Tool(request.Name, request.Arguments, &answer); err != nil {
			return told(err, "")
		}
		return fields{"answer": answer}, nil
	case "log":
		ctx.Log(request.Line)
		return fields{"logged": true}, nil
	case "now":
		return fields{"now": ctx.Now().Unix() > 1_600_000_000}, nil
	case "random":
		return fields{"different": ctx.Random() != ctx.Random()}, nil
	case "sleep":
		before := ctx.Now()
		ctx.Sleep(request.duration())
		return fields{"slept": ctx.Now().Sub(before) >= request.duration()}, nil
	case "fail":
		return nil, errOnPurpose
	}
	return nil, fmt.Errorf("cannot %s", request.Do)
}

func (a *acceptance) Timer(timer uint32, ctx *caxton.Context) error {
	message := a.waiting[timer]
	delete(a.waiting, timer)
	return ctx.Send(message.Inform(fields{"timer": timer > 0}))
}

func init() { caxton.Serve(&acceptance{waiting: map[uint32]*caxton.Message{}}) }
func main() {}
