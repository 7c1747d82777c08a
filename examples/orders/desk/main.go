// desk takes orders: it asks the inventory for the goods, then pricing for the sum, and tells the customer. All three
// speak in the customer's conversation; what the desk must remember until an answer comes is in its state.
package main

import "caxton"

type order struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

type pending struct {
	Order    order          `json:"order"`
	Customer caxton.Message `json:"customer"`
}

type desk struct{ caxton.Base }

func (desk) Capabilities() []string { return []string{"order-processing"} }

func (d desk) Handle(message *caxton.Message, ctx *caxton.Context) error {
	switch message.InReplyTo {
	case "reserve":
		return d.reserved(message, ctx)
	case "price":
		return d.priced(message, ctx)
	}
	if message.Performative != "request" {
		return nil // a complaint about something that is over
	}
	var wanted order
	if message.Decode(&wanted) != nil || wanted.Item == "" || wanted.Quantity < 1 {
		return ctx.Send(message.Refuse("an order has an item and a quantity"))
	}
	if err := ctx.Set(message.ConversationID, pending{wanted, *message}); err != nil {
		return err
	}
	return ask(ctx, message, "inventory", "reserve", wanted)
}

func ask(ctx *caxton.Context, message *caxton.Message, receiver, mark string, content any) error {
	return ctx.Send(caxton.Draft{
		Performative: "request", Receiver: receiver, ReplyWith: mark, Content: content,
		ConversationID: message.ConversationID,
	})
}

// customer is who waits in this conversation, and what for.
func customer(message *caxton.Message, ctx *caxton.Context) (pending, bool, error) {
	var found pending
	known, err := ctx.Get(message.ConversationID, &found)
	return found, known, err
}

func (desk) reserved(message *caxton.Message, ctx *caxton.Context) error {
	found, known, err := customer(message, ctx)
	if err != nil || !known {
		return err
	}
	if message.Performative == "inform" {
		return ask(ctx, message, "pricing", "price", found.Order)
	}
	if _, err := ctx.Remove(message.ConversationID); err != nil {
		return err
	}
	return ctx.Send(found.Customer.Refuse(message.Content))
}

func (desk) priced(message *caxton.Message, ctx *caxton.Context) error {
	found, known, err := customer(message, ctx)
	if err != nil || !known {
		return err
	}
	if _, err := ctx.Remove(message.ConversationID); err != nil {
		return err
	}
	if message.Performative != "inform" {
		return ctx.Send(found.Customer.Failure(message.Content))
	}
	return ctx.Send(found.Customer.Inform(map[string]any{"order": found.Order, "price": message.Content}))
}

func init() { caxton.Serve(desk{}) }
func main() {}
