package flowlogs

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// at is a second in the test's time, in Unix nanoseconds: minute 0 begins at an aligned window.
func at(second int64) int64 { return (base + second) * nanos }

const base = 1_700_000_040 // a whole minute

func testInterface(id, addr string) *Interface {
	a := netip.MustParseAddr(addr)
	i := &Interface{
		ID: id, AccountID: "123456789012", VPCID: "vpc-abcdefab012345678", SubnetID: "subnet-aaaaaaaa012345678",
		InstanceID: "i-01234567890123456", Region: "us-east-1", ZoneID: "use1-az1", Addresses: []netip.Addr{a},
	}
	if a.Is4() {
		i.Primary4 = a
	} else {
		i.Primary6 = a
	}
	return i
}

func tuple(proto uint8, src, dst string) packet.Tuple {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return packet.Tuple{Src: packet.AddrFrom(s.Addr()), Dst: packet.AddrFrom(d.Addr()), SrcPort: s.Port(), DstPort: d.Port(), Proto: proto}
}

// web is an accepted flow of 4 packets to 10.0.1.10:80 between two seconds of the test's time.
func web(first, last int64) *Flow {
	return &Flow{
		Tuple: tuple(6, "10.0.1.66:40000", "10.0.1.10:80"), Direction: vpc.Ingress, Action: Accept,
		Rule: 7, Packets: 4, Bytes: 216, TCPFlags: packet.SYN, First: at(first), Last: at(last),
	}
}

// lines formats records, one a line.
func lines(f *Format, records []Record) string {
	var b []byte
	for i := range records {
		b = append(f.Append(b, &records[i]), '\n')
	}
	return string(b)
}

// short is the format that the tests of windows compare in.
var short = mustFormat("interface-id srcaddr srcport dstport protocol packets bytes start end action tcp-flags log-status")

func mustFormat(names string) *Format {
	f, err := ParseFormat("${" + strings.ReplaceAll(names, " ", "} ${") + "}")
	if err != nil {
		panic(err)
	}
	return f
}

// shortLines gives records in the short format, with times relative to base.
func shortLines(records []Record) string {
	moved := make([]Record, len(records))
	for i, r := range records {
		r.Start -= base
		r.End -= base
		moved[i] = r
	}
	return lines(short, moved)
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", what, got, want)
	}
}
