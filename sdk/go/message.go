package caxton

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Message is one FIPA message. It may be kept for a later turn.
type Message struct {
	Performative   string          `json:"performative"`
	Sender         string          `json:"sender"`
	Content        json.RawMessage `json:"content"`
	ConversationID string          `json:"conversation_id"`
	ReplyWith      string          `json:"reply_with"`
	InReplyTo      string          `json:"in_reply_to"`
	ReplyTo        string          `json:"reply_to"`
	Protocol       string          `json:"protocol"`
	Ontology       string          `json:"ontology"`
	Language       string          `json:"language"`
	MessageID      string          `json:"message_id"`
	Redelivered    bool            `json:"redelivered"`
}

func read(text []byte) (*Message, error) {
	message := &Message{}
	if err := json.Unmarshal(text, message); err != nil {
		return nil, fmt.Errorf("a message that cannot be read: %w", err)
	}
	return message, nil
}

// Decode reads the content into a value of your own, as json.Unmarshal does.
func (m *Message) Decode(into any) error {
	if len(m.Content) == 0 {
		return errors.New("the message has no content")
	}
	return json.Unmarshal(m.Content, into)
}

// IsComplaint: never answer failure and not-understood, or two agents will complain to each other for ever.
func (m *Message) IsComplaint() bool {
	return m.Performative == "failure" || m.Performative == "not-understood"
}

// Draft is a message to be sent.
type Draft struct {
	Performative   string `json:"performative"`
	Receiver       any    `json:"receiver,omitempty"` // a string, or several
	Content        any    `json:"content,omitempty"`
	ConversationID string `json:"conversation_id,omitempty"`
	ReplyWith      string `json:"reply_with,omitempty"`
	InReplyTo      string `json:"in_reply_to,omitempty"`
	ReplyTo        string `json:"reply_to,omitempty"`
	ReplyBy        string `json:"reply_by,omitempty"`
	Protocol       string `json:"protocol,omitempty"`
	Ontology       string `json:"ontology,omitempty"`
	Language       string `json:"language,omitempty"`
}

// Answer is an answer with any act: to reply_to or the sender, in the conversation, in_reply_to what was reply_with.
func (m *Message) Answer(performative string, content any) Draft {
	receiver := m.ReplyTo
	if receiver == "" {
		receiver = m.Sender
	}
	return Draft{
		Performative: performative, Receiver: receiver, Content: content, ConversationID: m.ConversationID,
		InReplyTo: m.ReplyWith, Protocol: m.Protocol, Ontology: m.Ontology, Language: m.Language,
	}
}

var expected int

// expect is an answer that will be answered in its turn: with a reply_with of its own.
func (m *Message) expect(performative string, content any) Draft {
	expected++
	answer := m.Answer(performative, content)
	answer.ReplyWith = fmt.Sprint(performative, "-", expected)
	return answer
}

func (m *Message) Agree(content any) Draft          { return m.Answer("agree", content) }
func (m *Message) Refuse(content any) Draft         { return m.Answer("refuse", content) }
func (m *Message) Inform(content any) Draft         { return m.Answer("inform", content) }
func (m *Message) Failure(content any) Draft        { return m.Answer("failure", content) }
func (m *Message) NotUnderstood(content any) Draft  { return m.Answer("not-understood", content) }
func (m *Message) Propose(content any) Draft        { return m.expect("propose", content) }
func (m *Message) AcceptProposal(content any) Draft { return m.expect("accept-proposal", content) }
func (m *Message) RejectProposal(content any) Draft { return m.Answer("reject-proposal", content) }
