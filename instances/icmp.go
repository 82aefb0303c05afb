package instances

import (
	"fmt"
	"net/netip"
)

// ICMPError is an ICMP or ICMPv6 error message that came back for a packet.
type ICMPError struct {
	From       netip.Addr // of the host or router that sent it; tells the version too
	Type, Code uint8
}

// Error names the message as ping does.
func (e *ICMPError) Error() string {
	return fmt.Sprintf("from %s: %s", e.From, e.Text())
}

// Reason is Refused for port unreachable, TimedOut for time exceeded, else Unreachable.
func (e *ICMPError) Reason() Reason {
	switch (icmpCode{e.From.Is4(), e.Type, e.Code}) {
	case icmpCode{true, 3, 3}, icmpCode{false, 1, 4}:
		return Refused
	case icmpCode{true, 11, 0}, icmpCode{true, 11, 1}, icmpCode{false, 3, 0}, icmpCode{false, 3, 1}:
		return TimedOut
	}
	return Unreachable
}

// icmpCode is a message of RFC 792 and RFC 1812 (v4) or of RFC 4443.
type icmpCode struct {
	v4        bool
	typ, code uint8
}

var icmpTexts = map[icmpCode]string{
	{true, 3, 0}:  "Destination Net Unreachable",
	{true, 3, 1}:  "Destination Host Unreachable",
	{true, 3, 2}:  "Destination Protocol Unreachable",
	{true, 3, 3}:  "Destination Port Unreachable",
	{true, 3, 4}:  "Frag needed and DF set",
	{true, 3, 9}:  "Destination Net Prohibited",
	{true, 3, 10}: "Destination Host Prohibited",
	{true, 3, 13}: "Packet filtered",
	{true, 11, 0}: "Time to live exceeded",
	{true, 11, 1}: "Frag reassembly time exceeded",

	{false, 1, 0}: "Destination unreachable: No route",
	{false, 1, 1}: "Destination unreachable: Administratively prohibited",
	{false, 1, 3}: "Destination unreachable: Address unreachable",
	{false, 1, 4}: "Destination unreachable: Port unreachable",
	{false, 2, 0}: "Packet too big",
	{false, 3, 0}: "Time exceeded: Hop limit",
	{false, 3, 1}: "Time exceeded: Defragmentation failure",
}

// Text is the message in the words of ping(8).
func (e *ICMPError) Text() string {
	if s, ok := icmpTexts[icmpCode{e.From.Is4(), e.Type, e.Code}]; ok {
		return s
	}
	return fmt.Sprintf("ICMP type %d code %d", e.Type, e.Code)
}
