package lab

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/vpclab/vpclab/vpc"
)

// The short forms: what may stand instead of a mapping of a type's fields.

func (s *Subnet) decodeShort(d *decoder, n ast.Node, path string) bool {
	return shortCIDR(d, n, reflect.ValueOf(&s.CIDR).Elem(), path)
}

func (*Subnet) form() string { return "a CIDR such as 10.0.1.0/24, or a mapping with cidr" }

func (e *PrefixListEntry) decodeShort(d *decoder, n ast.Node, path string) bool {
	return shortCIDR(d, n, reflect.ValueOf(&e.CIDR).Elem(), path)
}

func (*PrefixListEntry) form() string { return "a CIDR such as 10.0.1.0/24, or a mapping with cidr" }

// shortCIDR reads the cidr field of a mapping that is not one.
func shortCIDR(d *decoder, n ast.Node, cidr reflect.Value, path string) bool {
	if n.Type() == ast.SequenceType {
		return false
	}
	d.spans[child(path, "cidr")] = spanOf(n)
	d.scalar(n, cidr, path)
	if d.broken[path] { // the field is wrong, not the thing that has it
		d.broken[child(path, "cidr")] = true
		delete(d.broken, path)
	}
	return true
}

func (l *PrefixList) decodeShort(d *decoder, n ast.Node, path string) bool {
	if n.Type() != ast.SequenceType {
		return false
	}
	d.sequence(n, reflect.ValueOf(&l.Entries).Elem(), child(path, "entries"))
	return true
}

func (*PrefixList) form() string { return "a list of CIDRs, or a mapping with entries" }

func (r *Rule) decodeShort(d *decoder, n ast.Node, path string) bool {
	text, ok := textOf(n)
	r.Short = strings.Join(strings.Fields(text), " ")
	d.pos(reflect.ValueOf(r).Elem(), spanOf(n))
	return ok && r.Short != ""
}

func (*Rule) form() string {
	return `a rule such as "tcp 80 from anywhere", or a mapping with protocol`
}

// protocolField is a protocol's name or number.
type protocolField string

func (p *protocolField) decodeShort(_ *decoder, n ast.Node, _ string) bool {
	text, ok := textOf(n)
	if n.Type() == ast.IntegerType {
		text, ok = n.GetToken().Value, true
	}
	*p = protocolField(text)
	return ok && text != ""
}

func (protocolField) form() string {
	return "a protocol: tcp, udp, icmp, icmpv6, a number, or -1 for all"
}

// formatText is the text of a flow-log format, which may be written as a list of its fields.
type formatText string

func (f *formatText) decodeShort(d *decoder, n ast.Node, path string) bool {
	if n.Type() != ast.SequenceType {
		*f = formatText(d.text(n, path))
		return true
	}
	var fields []string
	d.sequence(n, reflect.ValueOf(&fields).Elem(), path)
	for i, name := range fields {
		fields[i] = "${" + name + "}"
	}
	*f = formatText(strings.Join(fields, " "))
	return true
}

func (formatText) form() string { return "a format such as ${version} ${srcaddr}, or a list of fields" }

func (l *Listen) decodeShort(d *decoder, n ast.Node, path string) bool {
	if m, ok := n.(*ast.IntegerNode); ok {
		l.Protocol = "tcp"
		l.Port = d.port(n, m.GetToken().Value, path)
		return true
	}
	text, ok := textOf(n)
	port, proto, found := strings.Cut(text, "/")
	if !isDigits(port) {
		port, proto = proto, port
	}
	if !ok || !isDigits(port) || found && proto == "" {
		return false
	}
	if !found {
		proto = "tcp"
	}
	if l.Protocol = proto; l.Protocol != "tcp" && l.Protocol != "udp" {
		d.bad(n, path, fmt.Sprintf("there is no built-in server for protocol %s", short(proto)), "the protocols are tcp and udp")
		return true
	}
	l.Port = d.port(n, port, path)
	return true
}

func (Listen) form() string { return "a port: 80 (TCP), 80/tcp or 53/udp" }

// String gives "tcp/80", the form in which the model has it.
func (l Listen) String() string { return fmt.Sprintf("%s/%d", l.Protocol, l.Port) }

func (d *decoder) port(n ast.Node, digits, path string) uint16 {
	port, err := parsePort(digits)
	if err != nil {
		d.bad(n, path, err.Error(), "ports are 1 to 65535")
	}
	return port
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// parsePort reads a port in decimal digits; the error says only what is wrong.
func parsePort(digits string) (uint16, error) {
	n, err := strconv.ParseUint(digits, 10, 16)
	switch {
	case !isDigits(strings.TrimPrefix(digits, "-")):
		return 0, fmt.Errorf("port %q is not a number", short(digits))
	case err != nil || n == 0:
		return 0, fmt.Errorf("port %s is out of range", short(digits))
	case strconv.Itoa(int(n)) != digits:
		return 0, fmt.Errorf("port %s has a leading zero", short(digits))
	}
	return uint16(n), nil
}

func (r *Record) decodeShort(_ *decoder, n ast.Node, _ string) bool {
	text, _ := textOf(n)
	words := strings.Fields(text)
	if len(words) != 3 {
		return false
	}
	directions := map[string]vpc.Direction{"ingress": vpc.Ingress, "egress": vpc.Egress}
	actions := map[string]bool{"ACCEPT": true, "REJECT": false, "accept": true, "reject": false}
	var okDirection, okAction bool
	r.Instance = words[0]
	r.Direction, okDirection = directions[words[1]]
	r.Accept, okAction = actions[words[2]]
	return okDirection && okAction
}

func (Record) form() string { return `a record such as "web-1 egress ACCEPT"` }

// String gives "web-1 egress ACCEPT".
func (r Record) String() string {
	return r.Instance + " " + r.Direction.String() + " " + verdict(r.Accept)
}

// verdict is the word of the flow logs.
func verdict(accept bool) string {
	if accept {
		return "ACCEPT"
	}
	return "REJECT"
}
