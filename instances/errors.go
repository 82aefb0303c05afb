package instances

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Reason says what an error of a Network, or of a connection it made, means.
type Reason uint8

// Reasons.
const (
	NoError     Reason = iota
	Refused            // RST, or ICMP port unreachable: the other host was reached and has no such port
	TimedOut           // no answer: lost, or dropped by a rule
	Unreachable        // no route, no neighbour, or another ICMP unreachable message
	Reset              // an open connection was aborted
	Closed             // by this side, or the end of the stream
	Canceled           // the caller's context was cancelled
	Other
)

var reasonNames = [...]string{"no error", "refused", "timed out", "unreachable", "reset", "closed", "canceled", "other"}

func (r Reason) String() string { return reasonNames[r] }

// ReasonOf sorts err, whichever driver it came from.
func ReasonOf(err error) Reason {
	var icmp *ICMPError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return NoError
	case errors.As(err, &icmp):
		return icmp.Reason()
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT),
		errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
		return Closed
	}
	return Other
}
