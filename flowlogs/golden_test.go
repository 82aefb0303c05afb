package flowlogs

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// The lines of the VPC user guide, "Flow log record examples", that one interface of a VPC can cause.
// Each is made again from what its packets and its interface were: flows go through the aggregator,
// in AWS's windows, and come out as the very line.

const (
	v3Names = "version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport " +
		"pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags log-status"
	natNames     = "instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr"
	transitNames = "version interface-id account-id vpc-id subnet-id instance-id srcaddr dstaddr srcport dstport protocol " +
		"tcp-flags type pkt-srcaddr pkt-dstaddr action log-status"
	v5Names = "version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id vpc-id subnet-id " +
		"instance-id interface-id region az-id sublocation-type sublocation-id action tcp-flags pkt-srcaddr pkt-dstaddr " +
		"pkt-src-aws-service pkt-dst-aws-service traffic-path flow-direction log-status"

	v3Interface = "vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 eni-1235b8ca123456789 123456789010"
)

// seen is one flow at one interface: primary address of the interface, direction, packet's 5-tuple.
type seen struct {
	primary        string
	dir            vpc.Direction
	proto          uint8
	src, dst       string // of the packet
	sport, dport   uint16
	packets, bytes uint64
	first          int64
	action         Action
	flags          uint8
	path           uint8
}

func (s seen) flow() *Flow {
	return &Flow{
		Tuple: packet.Tuple{Src: packet.AddrFrom(netip.MustParseAddr(s.src)), Dst: packet.AddrFrom(netip.MustParseAddr(s.dst)),
			SrcPort: s.sport, DstPort: s.dport, Proto: s.proto},
		Direction: s.dir, Action: s.action, TrafficPath: s.path, TCPFlags: s.flags,
		Packets: s.packets, Bytes: s.bytes, First: s.first * nanos, Last: s.first * nanos,
	}
}

func TestGolden(t *testing.T) {
	const in, out = vpc.Ingress, vpc.Egress
	one := Interface{ID: "eni-1235b8ca123456789", AccountID: "123456789010"}
	six := one
	v3 := Interface{ID: "eni-1235b8ca123456789", AccountID: "123456789010", VPCID: "vpc-abcdefab012345678",
		SubnetID: "subnet-aaaaaaaa012345678", InstanceID: "i-01234567890123456"}
	v5 := Interface{ID: "eni-1235b8ca123456789", AccountID: "123456789012", VPCID: "vpc-abcdefab012345678",
		SubnetID: "subnet-aaaaaaaa012345678", InstanceID: "i-0c50d5961bcb2d47b", Region: "ap-southeast-2", ZoneID: "apse2-az3"}
	nat := Interface{ID: "eni-1235b8ca123456789"}
	private := Interface{ID: "eni-1111aaaa2222bbbb3", InstanceID: "i-01234567890123456"}
	source := Interface{ID: "eni-33333333333333333", AccountID: "123456789010", VPCID: "vpc-abcdefab012345678",
		SubnetID: "subnet-22222222bbbbbbbbb", InstanceID: "i-01234567890123456"}
	attachment1 := Interface{ID: "eni-11111111111111111", AccountID: "123456789010", VPCID: "vpc-abcdefab012345678",
		SubnetID: "subnet-11111111aaaaaaaaa"}
	attachment2 := Interface{ID: "eni-22222222222222222", AccountID: "123456789010", VPCID: "vpc-abcdefab012345678",
		SubnetID: "subnet-22222222bbbbbbbbb"}
	v3Flow := func(dir vpc.Direction, sport, dport uint16, bytes, packets uint64, first int64, flags uint8) seen {
		s := seen{"10.0.0.62", dir, 6, "52.213.180.42", "10.0.0.62", sport, dport, packets, bytes, first, Accept, flags, 0}
		if dir == out {
			s.src, s.dst = s.dst, s.src
		}
		return s
	}
	long := Window{1, 1000}

	for _, test := range []struct {
		name   string
		format string
		at     Interface
		window Window
		flow   *seen
		want   string
	}{
		{"accepted SSH", version2, one, Window{1418530010, 1418530070},
			&seen{"172.31.16.21", in, 6, "172.31.16.139", "172.31.16.21", 20641, 22, 20, 4249, 1418530010, Accept, 2, 0},
			"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"},
		{"rejected RDP", version2, one, Window{1418530010, 1418530070},
			&seen{"172.31.9.12", in, 6, "172.31.9.69", "172.31.9.12", 49761, 3389, 20, 4249, 1418530010, Reject, 2, 0},
			"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK"},
		{"no data", version2, one, Window{1431280876, 1431280934}, nil,
			"2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"},
		{"ping in", version2, one, Window{1432917000, 1432917142},
			&seen{"172.31.16.139", in, 1, "203.0.113.12", "172.31.16.139", 77, 8 << 8, 4, 336, 1432917027, Accept, 0, 0},
			"2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK"},
		{"ping's answer, rejected", version2, one, Window{1432917000, 1432917142},
			&seen{"172.31.16.139", out, 1, "172.31.16.139", "203.0.113.12", 8 << 8, 77, 4, 336, 1432917094, Reject, 0, 0},
			"2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK"},
		{"IPv6", version2, six, Window{1477913708, 1477913820},
			&seen{"2001:db8:1234:a102:3304:8879:34cf:4071", in, 6, "2001:db8:1234:a100:8d6e:3477:df66:f105",
				"2001:db8:1234:a102:3304:8879:34cf:4071", 34892, 22, 54, 8855, 1477913708, Accept, 0, 0},
			"2 123456789010 eni-1235b8ca123456789 2001:db8:1234:a100:8d6e:3477:df66:f105 2001:db8:1234:a102:3304:8879:34cf:4071 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK"},
		{"flags, first connection in", v3Names, v3, Window{1566848875, 1566848933}, ptr(v3Flow(in, 43416, 5001, 568, 8, 1566848875, 2)),
			"3 " + v3Interface + " IPv4 52.213.180.42 10.0.0.62 43416 5001 52.213.180.42 10.0.0.62 6 568 8 1566848875 1566848933 ACCEPT 2 OK"},
		{"flags, first connection out", v3Names, v3, Window{1566848875, 1566848933}, ptr(v3Flow(out, 5001, 43416, 376, 7, 1566848875, 18)),
			"3 " + v3Interface + " IPv4 10.0.0.62 52.213.180.42 5001 43416 10.0.0.62 52.213.180.42 6 376 7 1566848875 1566848933 ACCEPT 18 OK"},
		{"flags, second connection in", v3Names, v3, Window{1566848875, 1566848933}, ptr(v3Flow(in, 43418, 5001, 100701, 70, 1566848875, 2)),
			"3 " + v3Interface + " IPv4 52.213.180.42 10.0.0.62 43418 5001 52.213.180.42 10.0.0.62 6 100701 70 1566848875 1566848933 ACCEPT 2 OK"},
		{"flags, second connection out", v3Names, v3, Window{1566848875, 1566848933}, ptr(v3Flow(out, 5001, 43418, 632, 12, 1566848875, 18)),
			"3 " + v3Interface + " IPv4 10.0.0.62 52.213.180.42 5001 43418 10.0.0.62 52.213.180.42 6 632 12 1566848875 1566848933 ACCEPT 18 OK"},
		{"flags, its end out", v3Names, v3, Window{1566848933, 1566849113}, ptr(v3Flow(out, 5001, 43418, 63388, 1219, 1566848933, 1)),
			"3 " + v3Interface + " IPv4 10.0.0.62 52.213.180.42 5001 43418 10.0.0.62 52.213.180.42 6 63388 1219 1566848933 1566849113 ACCEPT 1 OK"},
		{"flags, its end in", v3Names, v3, Window{1566848933, 1566849113}, ptr(v3Flow(in, 43418, 5001, 23294588, 15774, 1566848933, 1)),
			"3 " + v3Interface + " IPv4 52.213.180.42 10.0.0.62 43418 5001 52.213.180.42 10.0.0.62 6 23294588 15774 1566848933 1566849113 ACCEPT 1 OK"},
		{"flags, short connection in", v3Names, v3, Window{1566933133, 1566933193}, ptr(v3Flow(in, 43638, 5001, 1260, 17, 1566933133, 3)),
			"3 " + v3Interface + " IPv4 52.213.180.42 10.0.0.62 43638 5001 52.213.180.42 10.0.0.62 6 1260 17 1566933133 1566933193 ACCEPT 3 OK"},
		{"flags, short connection out", v3Names, v3, Window{1566933133, 1566933193}, ptr(v3Flow(out, 5001, 43638, 967, 14, 1566933133, 19)),
			"3 " + v3Interface + " IPv4 10.0.0.62 52.213.180.42 5001 43638 10.0.0.62 52.213.180.42 6 967 14 1566933133 1566933193 ACCEPT 19 OK"},

		// Interfaces of gateways see packets that are not theirs; the data are given, the addresses shown are ours to choose.
		{"NAT, from the instance", natNames, nat, long, &seen{"10.0.0.220", in, 6, "10.0.1.5", "203.0.113.5", 1, 2, 1, 40, 5, Accept, 0, 0},
			"- eni-1235b8ca123456789 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5"},
		{"NAT, to the internet", natNames, nat, long, &seen{"10.0.0.220", out, 6, "10.0.0.220", "203.0.113.5", 1, 2, 1, 40, 5, Accept, 0, 0},
			"- eni-1235b8ca123456789 10.0.0.220 203.0.113.5 10.0.0.220 203.0.113.5"},
		{"NAT, from the internet", natNames, nat, long, &seen{"10.0.0.220", in, 6, "203.0.113.5", "10.0.0.220", 1, 2, 1, 40, 5, Accept, 0, 0},
			"- eni-1235b8ca123456789 203.0.113.5 10.0.0.220 203.0.113.5 10.0.0.220"},
		{"NAT, to the instance", natNames, nat, long, &seen{"10.0.0.220", out, 6, "203.0.113.5", "10.0.1.5", 1, 2, 1, 40, 5, Accept, 0, 0},
			"- eni-1235b8ca123456789 10.0.0.220 10.0.1.5 203.0.113.5 10.0.1.5"},
		{"private instance, out", natNames, private, long, &seen{"10.0.1.5", out, 6, "10.0.1.5", "203.0.113.5", 1, 2, 1, 40, 5, Accept, 0, 0},
			"i-01234567890123456 eni-1111aaaa2222bbbb3 10.0.1.5 203.0.113.5 10.0.1.5 203.0.113.5"},
		{"private instance, in", natNames, private, long, &seen{"10.0.1.5", in, 6, "203.0.113.5", "10.0.1.5", 1, 2, 1, 40, 5, Accept, 0, 0},
			"i-01234567890123456 eni-1111aaaa2222bbbb3 203.0.113.5 10.0.1.5 203.0.113.5 10.0.1.5"},
		{"transit gateway, source", transitNames, source, long, &seen{"10.20.33.164", out, 6, "10.20.33.164", "10.40.2.236", 39812, 80, 1, 40, 5, Accept, 3, 0},
			"3 eni-33333333333333333 123456789010 vpc-abcdefab012345678 subnet-22222222bbbbbbbbb i-01234567890123456 10.20.33.164 10.40.2.236 39812 80 6 3 IPv4 10.20.33.164 10.40.2.236 ACCEPT OK"},
		{"transit gateway, first attachment", transitNames, attachment1, long, &seen{"10.40.1.175", out, 6, "10.20.33.164", "10.40.2.236", 39812, 80, 1, 40, 5, Accept, 3, 0},
			"3 eni-11111111111111111 123456789010 vpc-abcdefab012345678 subnet-11111111aaaaaaaaa - 10.40.1.175 10.40.2.236 39812 80 6 3 IPv4 10.20.33.164 10.40.2.236 ACCEPT OK"},
		{"transit gateway, second attachment", transitNames, attachment2, long, &seen{"10.40.2.31", in, 6, "10.40.2.236", "10.20.33.164", 80, 39812, 1, 40, 5, Accept, 19, 0},
			"3 eni-22222222222222222 123456789010 vpc-abcdefab012345678 subnet-22222222bbbbbbbbb - 10.40.2.236 10.40.2.31 80 39812 6 19 IPv4 10.40.2.236 10.20.33.164 ACCEPT OK"},

		// AWS's name the service S3 at the other end: what is no address of AWS in a VPC of its own is "-".
		{"version 5 in, no service", v5Names, v5, Window{1616729292, 1616729349},
			&seen{"10.0.0.71", in, 6, "52.95.128.179", "10.0.0.71", 80, 34210, 14, 15044, 1616729292, Accept, 19, 0},
			"5 52.95.128.179 10.0.0.71 80 34210 6 1616729292 1616729349 IPv4 14 15044 123456789012 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - - ACCEPT 19 52.95.128.179 10.0.0.71 - - - ingress OK"},
		{"version 5 out, no service", v5Names, v5, Window{1616729292, 1616729349},
			&seen{"10.0.0.71", out, 6, "10.0.0.71", "52.95.128.179", 34210, 80, 7, 471, 1616729292, Accept, 3, 8},
			"5 10.0.0.71 52.95.128.179 34210 80 6 1616729292 1616729349 IPv4 7 471 123456789012 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - - ACCEPT 3 10.0.0.71 52.95.128.179 - - 8 egress OK"},
	} {
		a := NewAggregator(Config{Start: test.window.Start * nanos, Bounds: around(test.window)})
		i := test.at
		if test.flow != nil {
			primary := netip.MustParseAddr(test.flow.primary)
			i.Addresses = []netip.Addr{primary}
			if primary.Is4() {
				i.Primary4 = primary
			} else {
				i.Primary6 = primary
			}
		}
		a.SetInterface(1, &i)
		if test.flow != nil {
			a.Add(1, test.flow.flow())
		}
		same(t, test.name, lines(mustFormat(test.format), a.Seal(test.window.End*nanos)), test.want)
	}
}

func TestGoldenSkipData(t *testing.T) {
	w := Window{1431280876, 1431280934}
	a := NewAggregator(Config{Start: w.Start * nanos, Bounds: around(w), MaxRecords: 1, MaxPerInterface: 1})
	a.SetInterface(1, &Interface{ID: "eni-00000000000000000", AccountID: "123456789010"})
	a.SetInterface(2, &Interface{ID: "eni-11111111aaaaaaaaa", AccountID: "123456789010"})
	for eni := range uint32(2) {
		f := web(0, 0)
		f.First = w.Start * nanos
		a.Add(eni+1, f)
	}
	same(t, "skipped", lines(DefaultFormat(), a.Seal(w.End * nanos)[1:]),
		"2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA")
}

// TestGoldenWindowsInARow has both windows of AWS's long connection in one aggregator.
func TestGoldenWindowsInARow(t *testing.T) {
	windows := []Window{{1566848800, 1566848875}, {1566848875, 1566848933}, {1566848933, 1566849113}, {1566849113, 1566849200}}
	bounds := func(second int64) Window {
		for _, w := range windows {
			if w.Contains(second) {
				return w
			}
		}
		return windows[0]
	}
	a := NewAggregator(Config{Start: windows[1].Start * nanos, Bounds: bounds})
	a.SetInterface(1, testInterface(web1, "10.0.0.62"))
	for n, w := range windows[1:3] {
		f := web(0, 0)
		f.First, f.Last, f.Packets = w.Start*nanos, (w.End-1)*nanos, uint64(n+1)
		a.Add(1, f)
	}
	got := a.Seal(1566849113 * nanos)
	if len(got) != 2 {
		t.Fatalf("%d records", len(got))
	}
	for n, r := range got {
		if (Window{r.Start, r.End}) != windows[n+1] || r.Packets != uint64(n+1) {
			t.Errorf("%d to %d with %d packets, want %v", r.Start, r.End, r.Packets, windows[n+1])
		}
	}
}

// around gives a window, and what is before and after it as windows of their own.
func around(w Window) Bounds {
	return func(second int64) Window {
		switch {
		case second < w.Start:
			return Window{0, w.Start}
		case second >= w.End:
			return Window{w.End, w.End + 600}
		}
		return w
	}
}

func ptr[T any](v T) *T { return &v }

// TestGoldenLinesAreRead reads AWS's lines back, services and all, and the doc's double space.
func TestGoldenLinesAreRead(t *testing.T) {
	text := strings.Join([]string{
		v5Names,
		"5 52.95.128.179 10.0.0.71 80 34210 6 1616729292 1616729349 IPv4 14 15044 123456789012 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - - ACCEPT 19 52.95.128.179 10.0.0.71 S3 - - ingress OK",
		"5 10.0.0.71 52.95.128.179 34210 80 6 1616729292 1616729349 IPv4 7 471 123456789012 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - - ACCEPT 3 10.0.0.71 52.95.128.179 - S3 8 egress OK",
		v3Names,
		"3 " + v3Interface + " IPv4 10.0.0.62 52.213.180.42 5001 43638  10.0.0.62 52.213.180.42 6 967 14 1566933133 1566933193 ACCEPT 19 OK",
	}, "\n")
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []struct {
		service, ok string
		bytes       uint64
	}{{"S3", "ingress", 15044}, {"", "egress", 471}, {"", "", 967}} {
		row, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		service, _ := row.Text("pkt-src-aws-service")
		direction, _ := row.Text("flow-direction")
		if got, _ := row.Number("bytes"); got != want.bytes || service != want.service || direction != want.ok {
			t.Errorf("row %s: %s", strconv.Itoa(n), row)
		}
	}
	if r.Skipped() != 0 {
		t.Errorf("%d skipped", r.Skipped())
	}
}
