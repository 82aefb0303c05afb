package flowlogs

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Row is one line of a file, with what its columns are. It may come from anywhere: AWS, or another
// tool, with any fields.
type Row struct {
	Format *Format
	Values []string // as many as the format has fields
}

// ParseLine reads a line of a known format. Any run of blanks counts as one, and any field may be
// "-"; numbers and addresses must be such.
func ParseLine(f *Format, line string) (Row, error) {
	values := strings.Fields(line)
	if len(values) != len(f.fields) {
		return Row{}, fmt.Errorf("flowlogs: line has %d fields, its format %d", len(values), len(f.fields))
	}
	for i, v := range values {
		if !f.fields[i].valid(v) {
			return Row{}, fmt.Errorf("flowlogs: %s: bad value %q", f.names[i], v)
		}
	}
	return Row{f, values}, nil
}

// valid says whether a value can be one of the field's.
func (x field) valid(v string) bool {
	if v == "-" || x == fieldUnknown {
		return true
	}
	switch x {
	case fieldAction:
		return v == "ACCEPT" || v == "REJECT"
	case fieldLogStatus:
		return v == "OK" || v == "NODATA" || v == "SKIPDATA"
	}
	switch fields[x].kind {
	case number:
		_, err := strconv.ParseUint(v, 10, 64)
		return err == nil
	case address:
		_, err := netip.ParseAddr(v)
		return err == nil
	}
	return true
}

// Text gives a field's value; ok is false where the row has no such field or "-".
func (r Row) Text(field string) (value string, ok bool) {
	i := slices.Index(r.Format.names, field)
	if i < 0 || r.Values[i] == "-" {
		return "", false
	}
	return r.Values[i], true
}

// Number gives the value of a field that is a number.
func (r Row) Number(field string) (value uint64, ok bool) {
	v, ok := r.Text(field)
	if !ok {
		return 0, false
	}
	value, err := strconv.ParseUint(v, 10, 64)
	return value, err == nil
}

// Addr gives the value of a field that is an address.
func (r Row) Addr(field string) (value netip.Addr, ok bool) {
	v, ok := r.Text(field)
	if !ok {
		return netip.Addr{}, false
	}
	value, err := netip.ParseAddr(v)
	return value, err == nil
}

// String gives the row as AWS writes it, fields joined by one space.
func (r Row) String() string { return strings.Join(r.Values, " ") }

// MatchRow says whether f takes the row. What the row does not say cannot match a field of f that
// is set; Limit plays no part.
func (f *Filter) MatchRow(r Row) bool {
	if status, ok := r.Text("log-status"); ok && status != "OK" && f.flowsOnly() {
		return false
	}
	if f.Since != 0 {
		if end, ok := r.Number("end"); !ok || int64(end) < seconds(f.Since) {
			return false
		}
	}
	if f.Action != 0 {
		if action, _ := r.Text("action"); action != f.Action.String() {
			return false
		}
	}
	return matchText(f.Interfaces, r, "interface-id") && matchText(f.VPCIDs, r, "vpc-id") &&
		matchNumber(f.Protocols, r, "protocol") && matchNumber(f.Ports, r, "srcport", "dstport") &&
		f.matchRowAddress(r)
}

func matchText(wanted []string, r Row, field string) bool {
	v, _ := r.Text(field)
	return len(wanted) == 0 || slices.Contains(wanted, v)
}

func matchNumber[N uint8 | uint16](wanted []N, r Row, names ...string) bool {
	for _, name := range names {
		if v, ok := r.Number(name); ok && slices.ContainsFunc(wanted, func(n N) bool { return uint64(n) == v }) {
			return true
		}
	}
	return len(wanted) == 0
}

func (f *Filter) matchRowAddress(r Row) bool {
	for _, name := range []string{"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"} {
		if a, ok := r.Addr(name); ok && f.matchAddress(a) {
			return true
		}
	}
	return len(f.Addresses) == 0
}
