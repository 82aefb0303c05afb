package vswitch

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// The lines of the VPC user guide, "Flow log record examples", that a VPC without gateways can cause: each
// comes out of frames that went through the pipeline. The interface that the line is of stands in a subnet
// with one that forwards (no source/dest check), which plays everybody else, the internet too. Left out is
// what needs AWS's own services (pkt-src-aws-service S3) or a way out (traffic-path 7 and 8).

const (
	v3Format = "version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport " +
		"pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags log-status"
	natFormat     = "instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr"
	transitFormat = "version interface-id account-id vpc-id subnet-id instance-id srcaddr dstaddr srcport dstport protocol " +
		"tcp-flags type pkt-srcaddr pkt-dstaddr action log-status"
	v3Ids = "3 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 eni-1235b8ca123456789 123456789010 "
)

// burst is frames of one flow that add up to packets and bytes.
type burst struct {
	at             int64 // Unix seconds
	out            bool  // from the interface
	src, dst       string
	sport, dport   uint16
	proto          uint8
	packets, bytes int
	flags          uint8 // tcp-flags that the record shows
	icmpType       uint8
}

type golden struct {
	name      string
	primary   string // of the interface
	rules     []string
	forwards  bool // the interface itself has no source/dest check
	noEgress  bool
	max       int // flows that the aggregator has room for at an interface
	about     flowlogs.Interface
	format    string // "": the default
	windows   []flowlogs.Window
	bursts    []burst
	want      []string
	otherwise int // records of the interface besides
}

func TestGoldenRecords(t *testing.T) {
	one := flowlogs.Interface{ID: "eni-1235b8ca123456789", AccountID: "123456789010"}
	skip := flowlogs.Interface{ID: "eni-11111111aaaaaaaaa", AccountID: "123456789010"}
	v3 := one
	v3.VPCID, v3.SubnetID, v3.InstanceID = "vpc-abcdefab012345678", "subnet-aaaaaaaa012345678", "i-01234567890123456"
	nat := flowlogs.Interface{ID: "eni-1235b8ca123456789"}
	private := flowlogs.Interface{ID: "eni-1111aaaa2222bbbb3", InstanceID: "i-01234567890123456"}
	transit := func(id, subnet, instance string) flowlogs.Interface {
		return flowlogs.Interface{ID: id, AccountID: "123456789010", VPCID: "vpc-abcdefab012345678", SubnetID: subnet, InstanceID: instance}
	}
	iperf := func(at int64, out bool, sport uint16, bytes, packets int, flags uint8) burst {
		if out {
			return burst{at, true, "10.0.0.62", "52.213.180.42", 5001, sport, 6, packets, bytes, flags, 0}
		}
		return burst{at, false, "52.213.180.42", "10.0.0.62", sport, 5001, 6, packets, bytes, flags, 0}
	}
	const in, out = "52.213.180.42 10.0.0.62", "10.0.0.62 52.213.180.42"
	anyTime := []flowlogs.Window{{Start: 1000, End: 1060}}
	for _, g := range []golden{
		{name: "accepted", primary: "172.31.16.21", rules: open, about: one, windows: []flowlogs.Window{{Start: 1418530010, End: 1418530070}},
			bursts: []burst{{1418530010, false, "172.31.16.139", "172.31.16.21", 20641, 22, 6, 20, 4249, 2, 0}},
			want:   []string{"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"}},
		{name: "rejected", primary: "172.31.9.12", about: one, windows: []flowlogs.Window{{Start: 1418530010, End: 1418530070}},
			bursts: []burst{{1418530010, false, "172.31.9.69", "172.31.9.12", 49761, 3389, 6, 20, 4249, 2, 0}},
			want:   []string{"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK"}},
		{name: "no data", primary: "172.31.9.12", about: one, windows: []flowlogs.Window{{Start: 1431280876, End: 1431280934}},
			want: []string{"2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"}},
		{name: "skipped data", primary: "172.31.9.12", rules: open, max: 1, about: skip, windows: []flowlogs.Window{{Start: 1431280876, End: 1431280934}},
			bursts: []burst{
				{1431280876, false, "172.31.9.69", "172.31.9.12", 1, 2, 17, 1, 100, 0, 0},
				{1431280876, false, "172.31.9.69", "172.31.9.12", 3, 4, 17, 1, 100, 0, 0}},
			want: []string{"2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA"}, otherwise: 1},
		// AWS's second line is an ACL's doing; here the answers come after the ping was forgotten, and no rule admits them.
		{name: "ping accepted, answer rejected", primary: "172.31.16.139", rules: []string{"ping from anywhere"}, noEgress: true, about: one,
			windows: []flowlogs.Window{{Start: 1432917022, End: 1432917142}},
			bursts: []burst{
				{1432917027, false, "203.0.113.12", "172.31.16.139", 7, 1, 1, 4, 336, 0, 8},
				{1432917094, true, "172.31.16.139", "203.0.113.12", 7, 1, 1, 4, 336, 0, 0}},
			want: []string{
				"2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK",
				"2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK"}},
		{name: "IPv6", primary: "2001:db8:1234:a102:3304:8879:34cf:4071", rules: open, about: one, windows: []flowlogs.Window{{Start: 1477913700, End: 1477913820}},
			bursts: []burst{{1477913708, false, "2001:db8:1234:a100:8d6e:3477:df66:f105", "2001:db8:1234:a102:3304:8879:34cf:4071", 34892, 22, 6, 54, 8855, 2, 0}},
			want: []string{"2 123456789010 eni-1235b8ca123456789 2001:db8:1234:a100:8d6e:3477:df66:f105 " +
				"2001:db8:1234:a102:3304:8879:34cf:4071 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK"}},
		{name: "TCP flags in two windows", primary: "10.0.0.62", rules: open, about: v3, format: v3Format,
			windows: []flowlogs.Window{{Start: 1566848875, End: 1566848933}, {Start: 1566848933, End: 1566849113}},
			bursts: []burst{
				iperf(1566848875, false, 43416, 568, 8, 2), iperf(1566848875, true, 43416, 376, 7, 18),
				iperf(1566848875, false, 43418, 100701, 70, 2), iperf(1566848875, true, 43418, 632, 12, 18),
				iperf(1566848933, true, 43418, 63388, 1219, 1), iperf(1566848933, false, 43418, 23294588, 15774, 1)},
			want: []string{
				v3Ids + "IPv4 " + in + " 43416 5001 " + in + " 6 568 8 1566848875 1566848933 ACCEPT 2 OK",
				v3Ids + "IPv4 " + out + " 5001 43416 " + out + " 6 376 7 1566848875 1566848933 ACCEPT 18 OK",
				v3Ids + "IPv4 " + in + " 43418 5001 " + in + " 6 100701 70 1566848875 1566848933 ACCEPT 2 OK",
				v3Ids + "IPv4 " + out + " 5001 43418 " + out + " 6 632 12 1566848875 1566848933 ACCEPT 18 OK",
				v3Ids + "IPv4 " + out + " 5001 43418 " + out + " 6 63388 1219 1566848933 1566849113 ACCEPT 1 OK",
				v3Ids + "IPv4 " + in + " 43418 5001 " + in + " 6 23294588 15774 1566848933 1566849113 ACCEPT 1 OK"}},
		{name: "TCP flags in one window", primary: "10.0.0.62", rules: open, about: v3, format: v3Format,
			windows: []flowlogs.Window{{Start: 1566933133, End: 1566933193}},
			bursts:  []burst{iperf(1566933133, false, 43638, 1260, 17, 3), iperf(1566933133, true, 43638, 967, 14, 19)},
			want: []string{
				v3Ids + "IPv4 " + in + " 43638 5001 " + in + " 6 1260 17 1566933133 1566933193 ACCEPT 3 OK",
				v3Ids + "IPv4 " + out + " 5001 43638 " + out + " 6 967 14 1566933133 1566933193 ACCEPT 19 OK"}},
		{name: "interface that forwards", primary: "10.0.0.220", rules: open, forwards: true, about: nat, format: natFormat, windows: anyTime,
			bursts: []burst{
				{1000, false, "10.0.1.5", "203.0.113.5", 1, 2, 17, 1, 100, 0, 0}, {1001, true, "10.0.0.220", "203.0.113.5", 1, 2, 17, 1, 100, 0, 0},
				{1002, false, "203.0.113.5", "10.0.0.220", 2, 1, 17, 1, 100, 0, 0}, {1003, true, "203.0.113.5", "10.0.1.5", 2, 1, 17, 1, 100, 0, 0}},
			want: []string{
				"- eni-1235b8ca123456789 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5",
				"- eni-1235b8ca123456789 10.0.0.220 203.0.113.5 10.0.0.220 203.0.113.5",
				"- eni-1235b8ca123456789 203.0.113.5 10.0.0.220 203.0.113.5 10.0.0.220",
				"- eni-1235b8ca123456789 10.0.0.220 10.0.1.5 203.0.113.5 10.0.1.5"}},
		{name: "instance behind it", primary: "10.0.1.5", rules: open, about: private, format: natFormat, windows: anyTime,
			bursts: []burst{
				{1000, true, "10.0.1.5", "203.0.113.5", 1, 2, 17, 1, 100, 0, 0}, {1001, false, "203.0.113.5", "10.0.1.5", 2, 1, 17, 1, 100, 0, 0}},
			want: []string{
				"i-01234567890123456 eni-1111aaaa2222bbbb3 10.0.1.5 203.0.113.5 10.0.1.5 203.0.113.5",
				"i-01234567890123456 eni-1111aaaa2222bbbb3 203.0.113.5 10.0.1.5 203.0.113.5 10.0.1.5"}},
		{name: "instance before a transit interface", primary: "10.20.33.164", rules: open, format: transitFormat, windows: anyTime,
			about:  transit("eni-33333333333333333", "subnet-22222222bbbbbbbbb", "i-01234567890123456"),
			bursts: []burst{{1000, true, "10.20.33.164", "10.40.2.236", 39812, 80, 6, 5, 500, 3, 0}},
			want: []string{"3 eni-33333333333333333 123456789010 vpc-abcdefab012345678 subnet-22222222bbbbbbbbb i-01234567890123456 " +
				"10.20.33.164 10.40.2.236 39812 80 6 3 IPv4 10.20.33.164 10.40.2.236 ACCEPT OK"}},
		{name: "transit interface, out", primary: "10.40.1.175", rules: open, forwards: true, format: transitFormat, windows: anyTime,
			about:  transit("eni-11111111111111111", "subnet-11111111aaaaaaaaa", ""),
			bursts: []burst{{1000, true, "10.20.33.164", "10.40.2.236", 39812, 80, 6, 5, 500, 3, 0}},
			want: []string{"3 eni-11111111111111111 123456789010 vpc-abcdefab012345678 subnet-11111111aaaaaaaaa - " +
				"10.40.1.175 10.40.2.236 39812 80 6 3 IPv4 10.20.33.164 10.40.2.236 ACCEPT OK"}},
		{name: "transit interface, in", primary: "10.40.2.31", rules: open, forwards: true, format: transitFormat, windows: anyTime,
			about:  transit("eni-22222222222222222", "subnet-22222222bbbbbbbbb", ""),
			bursts: []burst{{1000, false, "10.40.2.236", "10.20.33.164", 80, 39812, 6, 5, 500, 19, 0}},
			want: []string{"3 eni-22222222222222222 123456789010 vpc-abcdefab012345678 subnet-22222222bbbbbbbbb - " +
				"10.40.2.236 10.40.2.31 80 39812 6 19 IPv4 10.40.2.236 10.20.33.164 ACCEPT OK"}},
	} {
		t.Run(g.name, func(t *testing.T) {
			if got, want := g.run(t), slices.Sorted(slices.Values(g.want)); !slices.Equal(got, want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

// run sends the bursts and gives the interface's lines, sorted, without those besides.
func (g *golden) run(t *testing.T) []string {
	w, own, rest := g.world(t)
	last := g.windows[len(g.windows)-1].End
	var records []flowlogs.Record
	until := func(second int64) {
		for w.clock.Wall() < second*int64(time.Second) {
			w.clock.Advance(time.Second)
			records = append(records, w.sw.Tick()...)
		}
	}
	for _, b := range g.bursts {
		until(b.at)
		from, to := rest, own
		if b.out {
			from, to = own, rest
		}
		for _, f := range b.frames(from, to) {
			from.send(f)
		}
		own.take()
		rest.take()
	}
	until(last)
	w.balanced()
	return g.lines(t, records)
}

func (g *golden) lines(t *testing.T, records []flowlogs.Record) (lines []string) {
	format := flowlogs.DefaultFormat()
	if g.format != "" {
		var err error
		if format, err = flowlogs.ParseFormat("${" + strings.ReplaceAll(g.format, " ", "} ${") + "}"); err != nil {
			t.Fatal(err)
		}
	}
	besides := 0
	for i := range records {
		r := &records[i]
		if r.Interface.ID != g.about.ID || r.Window.End > g.windows[len(g.windows)-1].End {
			continue
		}
		line := string(format.Append(nil, r))
		if g.otherwise > 0 && !slices.Contains(g.want, line) {
			besides++
			continue
		}
		lines = append(lines, line)
	}
	if besides != g.otherwise {
		t.Errorf("%d records besides, want %d", besides, g.otherwise)
	}
	slices.Sort(lines)
	return lines
}

// bounds are the windows of the test, and one long window before and after.
func (g *golden) bounds(second int64) flowlogs.Window {
	for _, w := range g.windows {
		if w.Contains(second) {
			return w
		}
	}
	if first := g.windows[0].Start; second < first {
		return flowlogs.Window{Start: math.MinInt32, End: first}
	}
	return flowlogs.Window{Start: g.windows[len(g.windows)-1].End, End: math.MaxInt32}
}

// world is a VPC around the interface's subnet, on a clock that shows the first window's start.
func (g *golden) world(t *testing.T) (w *world, own, rest *stubPort) {
	start := time.Unix(g.windows[0].Start, 0)
	w = &world{t: t, clock: NewManualClock(start), names: map[string]string{}, ports: map[string]*stubPort{}}
	w.store = vpc.NewMemoryStore(vpc.Config{Seed: 1})
	w.acc = flowlogs.NewAggregator(flowlogs.Config{Bounds: g.bounds, Start: start.UnixNano(), MaxPerInterface: g.max})
	sw, err := New(Config{Clock: w.clock, Records: w.acc})
	if err != nil {
		t.Fatal(err)
	}
	w.sw = sw
	t.Cleanup(func() { sw.Close() })
	primary := addr(g.primary)
	v4, v6 := primary, netip.MustParsePrefix("2001:db8:1234:a102::/64")
	if primary.Is6() {
		v4 = addr("10.0.0.62")
	}
	vpcCIDR, _ := v4.Prefix(16)
	subnetCIDR, _ := v4.Prefix(24)
	w.update(func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: vpcCIDR, CIDR6: netip.MustParsePrefix("2001:db8:1234:a100::/56")})
		if err != nil {
			return err
		}
		w.vpcID = v.ID
		s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: subnetCIDR, CIDR6: v6})
		w.names["subnet"] = s.ID
		return err
	})
	w.group("own", g.rules...)
	w.group("else", open...)
	if g.noEgress {
		w.revoke("own", "all to anywhere")
	}
	spec := vpc.InterfaceSpec{SubnetID: w.names["subnet"], Addresses: []netip.Addr{v4}, Groups: []string{w.names["own"]}}
	if primary.Is6() {
		spec.Addresses6 = []netip.Addr{primary}
	}
	own = w.interfaceOf("own-1", spec)
	rest = w.interfaceOf("else-1", vpc.InterfaceSpec{SubnetID: w.names["subnet"], Groups: []string{w.names["else"]}})
	w.sourceDestCheck("else-1", false)
	w.sourceDestCheck("own-1", !g.forwards)
	about := g.about
	about.Primary4, about.Primary6, about.Addresses = v4, netip.Addr{}, []netip.Addr{v4}
	if primary.Is6() {
		about.Primary6, about.Addresses = primary, []netip.Addr{v4, primary}
	}
	w.acc.SetInterface(own.compiled().num, &about)
	return w, own, rest
}

func (w *world) interfaceOf(name string, spec vpc.InterfaceSpec) *stubPort {
	var ni *vpc.NetworkInterface
	w.update(func(tx *vpc.Tx) (err error) {
		ni, err = tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: spec})
		return err
	})
	w.names[name] = ni.ID
	return w.plug(name, ni)
}

// frames are the burst's, of sizes as equal as can be. A SYN comes first, a FIN last.
func (b *burst) frames(from, to *stubPort) (out [][]byte) {
	for i := range b.packets {
		size := b.bytes / b.packets
		if i < b.bytes%b.packets {
			size++
		}
		flags := uint8(packet.ACK)
		if i == 0 && b.flags&packet.SYN != 0 {
			flags = b.flags & (packet.SYN | packet.ACK)
		}
		if i == b.packets-1 && b.flags&packet.FIN != 0 {
			flags |= packet.FIN
		}
		out = append(out, b.frame(from, to, size, flags))
	}
	return out
}

func (b *burst) frame(from, to *stubPort, size int, flags uint8) []byte {
	src, dst := addr(b.src), addr(b.dst)
	header := 20
	if src.Is6() {
		header = 40
	}
	switch b.proto {
	case packet.ProtoTCP:
		return packettest.TCP{SrcMAC: from.mac, DstMAC: to.mac, Src: netip.AddrPortFrom(src, b.sport), Dst: netip.AddrPortFrom(dst, b.dport),
			Flags: flags, Payload: make([]byte, size-header-20)}.Bytes()
	case packet.ProtoUDP:
		return packettest.UDP{SrcMAC: from.mac, DstMAC: to.mac, Src: netip.AddrPortFrom(src, b.sport), Dst: netip.AddrPortFrom(dst, b.dport),
			Payload: make([]byte, size-header-8)}.Bytes()
	}
	return packettest.ICMP{SrcMAC: from.mac, DstMAC: to.mac, Src: src, Dst: dst, Type: b.icmpType, ID: b.sport, Seq: b.dport,
		Payload: make([]byte, size-header-8)}.Bytes()
}
