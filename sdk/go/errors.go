package caxton

import (
	"strings"
	"unsafe"
)

// Error is what the host says no with. Compare with errors.Is(err, caxton.NoReceiver).
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Text }

// Is makes errors.Is(err, caxton.NoReceiver) work.
func (e *Error) Is(target error) bool { return e.Code == target }

// Code is an error's name, the same in every SDK.
type Code string

func (c Code) Error() string { return string(c) }

const (
	InvalidMessage  Code = "invalid-message"
	NoReceiver      Code = "no-receiver"
	MailboxFull     Code = "mailbox-full"
	TooLarge        Code = "too-large"
	Stopped         Code = "stopped"
	TooManyHops     Code = "too-many-hops"
	OutOfMemory     Code = "out-of-memory"
	LimitReached    Code = "limit"
	StoreFailed     Code = "store-failed"
	InvalidArgument Code = "invalid-argument"
	QuotaExceeded   Code = "quota"
	Unavailable     Code = "unavailable"
	Failed          Code = "failed"
)

const notFound = -101

var codes = map[int32]Code{
	-1: InvalidMessage, -2: NoReceiver, -3: MailboxFull, -4: TooLarge, -5: Stopped, -6: TooManyHops, -7: OutOfMemory,
	-8: LimitReached, -9: StoreFailed, -102: InvalidArgument, -103: QuotaExceeded, -104: Unavailable,
}

func check(result int32) error {
	if result >= 0 {
		return nil
	}
	code, known := codes[result]
	if !known {
		code = Failed
	}
	room := make([]byte, 256)
	length := lastError(unsafe.Pointer(unsafe.SliceData(room)), uint32(len(room)))
	return &Error{code, strings.ToValidUTF8(string(room[:max(0, min(int(length), len(room)))]), "\ufffd")}
}
