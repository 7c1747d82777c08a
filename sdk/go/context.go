package caxton

import (
	"encoding/json"
	"math/rand/v2"
	"time"
)

const firstRoom = 64 << 10 // bytes of a tool's answer; a longer one costs a second call

// Context is what an agent can ask of its host. It is the same for every turn.
type Context struct{}

// Send sends a message when the turn ends well.
func (c *Context) Send(draft Draft) error {
	text, err := json.Marshal(draft)
	if err != nil {
		return err
	}
	return check(sendMessage(pointerTo(text), uint32(len(text))))
}

// Audience is who hears a broadcast; the zero value is the group all.
type Audience struct {
	Agents       []string `json:"agents,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// Broadcast sends to many, and says how many they are.
func (c *Context) Broadcast(audience Audience, draft Draft) (int, error) {
	filter, err := json.Marshal(audience)
	if err != nil {
		return 0, err
	}
	text, err := json.Marshal(draft)
	if err != nil {
		return 0, err
	}
	found := broadcastMessage(pointerTo(filter), uint32(len(filter)), pointerTo(text), uint32(len(text)))
	return int(max(found, 0)), check(found)
}

// Subscribe hears what is sent to these topics, such as orders.*.
func (c *Context) Subscribe(topics ...string) error {
	filter, err := json.Marshal(map[string][]string{"topics": topics})
	if err != nil {
		return err
	}
	return check(subscribeMessages(pointerTo(filter), uint32(len(filter))))
}

// Log writes a line of the agent's log. fmt.Println does too.
func (c *Context) Log(line string) { consoleLog(pointer(line), uint32(len(line))) }

func (c *Context) LogError(line string) { consoleError(pointer(line), uint32(len(line))) }

// Now is time.Now, which works too.
func (c *Context) Now() time.Time { return time.Now() }

// Sleep suspends the agent; no thread waits with it. time.Sleep does the same.
func (c *Context) Sleep(duration time.Duration) { sleepMicros(duration.Microseconds()) }

// Random is from math/rand/v2, which works too.
func (c *Context) Random() uint32 { return rand.Uint32() }

// SetTimer calls Timer with the number that it gives after so long; durable, at most a year.
func (c *Context) SetTimer(after time.Duration) (uint32, error) {
	timer := setTimer(after.Microseconds())
	return uint32(timer), check(timer)
}

func (c *Context) CancelTimer(timer uint32) error { return check(cancelTimer(timer)) }

// Set keeps a value, as JSON, under a key of 1 to 256 bytes; it outlives the instance.
func (c *Context) Set(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.SetBytes(key, text)
}

// Get reads a value of the state, and says whether there is one.
func (c *Context) Get(key string, into any) (bool, error) {
	text, err := c.GetBytes(key)
	if text == nil || err != nil {
		return false, err
	}
	return true, json.Unmarshal(text, into)
}

func (c *Context) SetBytes(key string, value []byte) error {
	return check(storeData(pointer(key), uint32(len(key)), pointerTo(value), uint32(len(value))))
}

// GetBytes gives nil when there is no value.
func (c *Context) GetBytes(key string) ([]byte, error) {
	room := make([]byte, 256)
	for {
		length := loadData(pointer(key), uint32(len(key)), pointerTo(room), uint32(len(room)))
		if length == notFound {
			return nil, nil
		}
		if err := check(length); err != nil {
			return nil, err
		}
		if int(length) <= len(room) {
			return room[:length], nil
		}
		room = make([]byte, length)
	}
}

// Remove says whether there was a value.
func (c *Context) Remove(key string) (bool, error) {
	result := deleteData(pointer(key), uint32(len(key)))
	if result == notFound {
		return false, nil
	}
	return result >= 0, check(result)
}

// Tool calls a tool and reads its answer into a value; the agent waits, no thread does.
func (c *Context) Tool(name string, arguments, into any) error {
	return c.ToolWithin(0, name, arguments, into)
}

// ToolWithin is Tool with a time limit.
func (c *Context) ToolWithin(limit time.Duration, name string, arguments, into any) error {
	request := map[string]any{"tool": name, "arguments": arguments}
	if limit > 0 {
		request["timeout_ms"] = limit.Milliseconds()
	}
	return slow(false, request, into)
}

// Search searches the memory of the agent's workspace.
func (c *Context) Search(query string, into any) error {
	return slow(true, map[string]any{"query": query}, into)
}

func slow(search bool, request map[string]any, into any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	room := make([]byte, firstRoom)
	for {
		var found int32
		if search {
			found = memorySearch(pointerTo(text), uint32(len(text)), pointerTo(room), uint32(len(room)))
		} else {
			found = mcpCall(pointerTo(text), uint32(len(text)), pointerTo(room), uint32(len(room)))
		}
		if found >= 0 {
			return json.Unmarshal(room[:found], into)
		}
		// a code, or the size that is needed: always more than the room there was
		if int(-found) <= len(room) {
			return check(found)
		}
		room = make([]byte, -found)
	}
}
